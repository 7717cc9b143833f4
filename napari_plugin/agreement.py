"""How often the mask was right where a person painted next: an honest score, as it comes before it is learnt.

After RootPainter's live metrics (Smith et al. 2022, "RootPainter: deep learning segmentation of biological
images with corrective annotation"), which compare each prediction with its correction. We differ: of each
change only what is newly painted counts, and every class that it paints counts alike, or the background of a
finished slice would drown the rest. People paint where they see errors, so the score errs on the low side.
"""

import numpy as np

from wsseg.hints import BACKGROUND

LAST = 5  # changes that are looked back on
ENOUGH = 0.95  # agreement in each of these, from which on more of them change little


class Agreement:
    """The scores of one image, one a change of its paint.

    Attributes:
        values: Of each change, 0 to 1.
    """

    def __init__(self) -> None:
        self.values: list[float] = []

    def note(
        self,
        where: np.ndarray,
        before: np.ndarray | None,
        now: np.ndarray | None,
        mask: np.ndarray | None,
        locked: np.ndarray | None,
    ) -> None:
        """Score a change; one that only erases or accepts, or comes before there is a mask, has no score.

        Args:
            where: What has changed, as `patching.changed` gives it.
            before, now: The hint maps (*S) without it and with it, None = nothing painted.
            mask: What was on show before it but for the paint, class ids (*S), or None.
            locked: What was accepted, a hint map (*S), or None; that it agrees says nothing.
        """
        if now is None or mask is None or not mask.any():
            return
        where = where[now.ravel()[where] > 0]
        if locked is not None:
            where = where[locked.ravel()[where] == 0]
        painted, said = _classes(now.ravel()[where]), mask.ravel()[where]
        if before is not None:
            old = before.ravel()[where]
            said = np.where(old > 0, _classes(old), said)
        if len(painted):
            self.values.append(float(np.mean([(said == k)[painted == k].mean() for k in np.unique(painted)])))

    def told(self) -> str:
        """The newest score, and whether more hints still pay, in words; "" where there is none."""
        if not self.values:
            return ""
        last = self.values[-LAST:]
        if len(last) == LAST and min(last) >= ENOUGH:
            return (
                f"The mask was right already in {np.mean(last):.0%} of what each of the last {LAST} changes "
                "paints: more hints like these will change little."
            )
        return f"The mask was right already in {self.values[-1]:.0%} of what you painted last."


def _classes(painted: np.ndarray) -> np.ndarray:
    return np.where(painted == BACKGROUND, 0, painted)
