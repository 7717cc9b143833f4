"""Which slice next: Dice against the number of finished slices, for suggested, evenly spread and random ones.

Hippocampus, two classes, each volume on its own. A robot finishes the middle slice, the instant head
(`wsseg.instant`) answers, a rule of `wsseg.guidance` names the next slice, and so on. `doubt`, `intervals`
and `random` take slices along axis 0, `any axis` is doubt along all three, `alike` is doubt times likeness;
`planned` spreads as many slices evenly as there are in the end: nobody can who doesn't know when to stop.

Dice is the mean of both classes over the whole volume, finished slices included: that is the mask that a
person is left with; `rest` is that of the other slices alone. `to 0.7` is after how many slices it reached
that, one more than were drawn where it did not. Settings were chosen on ten of the first 20 volumes by name;
what is reported is every second of the last 40.
"""

import time
from dataclasses import replace

import numpy as np

from benchmarks.common import keep, options, pack, table
from wsseg.features import Features, feature_steps
from wsseg.guidance import Situation, doubt_of, suggest
from wsseg.images import Image, read_image, read_labels
from wsseg.instant import fit_head
from wsseg.normalise import Normalisation
from wsseg.steps import finish
from wsseg.weak import WeakLabels

RULES = ("doubt", "alike", "any axis", "intervals", "planned", "random")
LEVELS = (0.5, 0.6, 0.7, 0.75)
TEST, EVERY = 40, 2


class Work:
    """One volume while a robot finishes slices of it.

    Args:
        image: The volume.
        truth: Its classes (*S).
        features: Of the volume.
    """

    def __init__(self, image: Image, truth: np.ndarray, features: Features) -> None:
        self.image, self.truth, self.features = image, truth, features
        self.now = Situation(np.zeros(truth.shape, bool), image.spacing)

    def finish_slice(self, axis: int, index: int) -> None:
        """One more slice, and what that leaves in doubt."""
        known = self.now.known.copy()
        known[(slice(None),) * axis + (index,)] = True
        self.answer(known)

    def answer(self, known: np.ndarray) -> None:
        """Learn from these voxels alone, and predict all."""
        labels = WeakLabels(self.truth, known.astype(np.float32))
        head = fit_head(self.features, labels, 3)
        said = head.probabilities(self.features, tuple(slice(0, n) for n in known.shape))
        self.now = replace(self.now, known=known, doubt=doubt_of(said))
        self.mask = np.where(known, self.truth, said.argmax(0))

    def next(self, rule: str, seed: int) -> tuple[int, int]:
        """Axis and index of the slice that a rule names."""
        now = replace(self.now, features=self.features) if rule == "alike" else self.now
        name = rule if rule in ("intervals", "random") else "doubt"
        axes = None if rule == "any axis" else [0]
        (place,) = suggest(now, name, axes=axes, seed=seed)
        assert place.axis is not None
        assert place.index is not None
        return place.axis, place.index

    def dice(self, *, rest: bool = False) -> float:
        """Mean of both classes, over all or over what is not finished."""
        where = ~self.now.known if rest else np.ones(self.truth.shape, bool)
        pairs = [((self.mask == k) & where, (self.truth == k) & where) for k in (1, 2)]
        return float(np.mean([2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in pairs]))


def run(work: Work, rule: str, slices: int, seed: int) -> tuple[list[float], float, float]:
    """Dice after each slice; Dice of the rest and the share of finished voxels after the last."""
    length, curve = work.truth.shape[0], []
    for count in range(1, slices + 1):
        if rule == "planned":
            known = np.zeros(work.truth.shape, bool)
            known[((np.arange(count) + 0.5) * length / count).astype(int)] = True
            work.answer(known)
        elif count == 1:
            work.finish_slice(0, length // 2)
        else:
            work.finish_slice(*work.next(rule, 1000 * seed + count))
        curve.append(work.dice())
    return curve, work.dice(rest=True), float(work.now.known.mean())


def main() -> None:
    """Every rule on every volume."""
    chosen = options(
        __doc__,
        rules={"nargs": "+", "default": list(RULES), "choices": list(RULES)},
        slices={"type": int, "default": 8},
        every={"type": int, "default": EVERY, "help": "every N-th of the last 40 volumes"},
    )
    folder, seed = pack("hippocampus"), chosen.seeds[0]
    curves: dict[str, list[list[float]]] = {rule: [] for rule in chosen.rules}
    ends: dict[str, list[tuple[float, float]]] = {rule: [] for rule in chosen.rules}
    begin = time.monotonic()
    for number, path in enumerate(sorted((folder / "imagesTr").glob("*.nii.gz"))[-TEST :: chosen.every]):
        image = read_image(path)
        truth = np.asarray(read_labels(folder / "labelsTr" / path.name, image)).astype(np.int64)
        features = finish(feature_steps(image, Normalisation().measure(image)))
        for rule in chosen.rules:
            curve, rest, share = run(Work(image, truth, features), rule, chosen.slices, 100 * seed + number)
            curves[rule].append(curve)
            ends[rule].append((rest, share))
    rows = []
    for rule in chosen.rules:
        values = np.array(curves[rule])  # (volumes, slices)
        row = {"rule": rule, "seed": seed, "volumes": len(values)}
        row |= {f"{n} slices": float(values[:, n - 1].mean()) for n in range(2, chosen.slices + 1, 2)}
        row |= dict(zip(("rest", "finished"), np.mean(ends[rule], 0).tolist(), strict=True))
        for level in LEVELS:
            reached = np.where((values >= level).any(1), (values >= level).argmax(1) + 1, chosen.slices + 1)
            row[f"to {level}"] = float(reached.mean())
        rows.append(row)
        keep("guidance", row)
    table(rows)
    print(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
