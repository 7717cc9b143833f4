"""How long a run is; apart from `fit`, so that `check` can tell it without loading torch."""

import math

TAG_STEPS = 300  # of a classifier of tags
FEWEST, MOST = 400, 1200  # optimiser steps


def steps_for(labelled: int) -> int:
    """Optimiser steps for so many labelled voxels: a fixed function of the data, never of the clock."""
    wanted = 100 * round(4 + 1.5 * math.log2(max(labelled, 1) / 500))
    return min(max(wanted, FEWEST), MOST)
