"""What a run of pretraining is told in: sentences about the scans and about what the monitors see."""

from collections.abc import Mapping, Sequence
from typing import Any

from napari_plugin.pretexts import MODALITIES
from napari_plugin.run import duration
from wsseg.words import counted

BRIEF = 3  # sentences about scans that were left out; the rest is counted
TINY = 1e-6
LATEST = 20  # answers that an accuracy is the mean of


def found(plan: Mapping[str, Any], seconds: float | None) -> list[str]:
    """What there is to learn from, and what would be done.

    Args:
        plan: See `wsseg pretrain --events`.
        seconds: That the run would take, None while that is not known.
    """
    guess = " (a guess; say so above if it is not)" if plan["guessed"] else ""
    size, spacing = "×".join(map(str, plan["crop"])), " × ".join(f"{s:g}" for s in plan["spacing"])
    sentences = [
        f"{counted(plan['scans'], 'scans')} of {counted(plan['subjects'], 'subjects')}: "
        f"{MODALITIES[plan['modality']]}{guess}.",
        f"{plan['steps']} steps of {plan['batch']} crops of {size} voxels at a spacing of {spacing}.",
    ]
    if seconds is not None:
        each = seconds / plan["steps"]
        sentences.append(f"On this machine about {duration(seconds)} ({each:.2g} s a step).")
    if plan["doubt"]:
        sentences.append(f"Doubtful: {plan['doubt']}")
    skipped = list(plan["skipped"].values())
    sentences += [f"Left out: {sentence}" for sentence in skipped[:BRIEF]]
    if len(skipped) > BRIEF:
        sentences.append(f"Left out: {len(skipped) - BRIEF} more.")
    return sentences


def seen(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """What the monitors see.

    Args:
        rows: As in metrics.jsonl.
    """
    readings = [row for row in rows if "spread" in row]
    if not readings:
        return []
    first, now = readings[0], readings[-1]
    widest = max(row["spread"] for row in readings)
    sentences = [
        f"Crops are told apart along {now['rank']:.0f} of {now['full_rank']:.0f} directions (at first "
        f"{first['rank']:.0f}); their spread is {now['spread'] / max(widest, TINY):.0%} of the widest "
        "so far (in a collapse below 20%)."
    ]
    if answers := [row for row in rows if "accuracy" in row][-LATEST:]:
        right, chance = (sum(row[name] for row in answers) / len(answers) for name in ("accuracy", "chance"))
        sentences.append(f"The task is solved in {right:.0%} of cases, by chance in {chance:.0%}.")
    return sentences
