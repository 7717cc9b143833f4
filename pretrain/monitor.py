"""Is it learning? Numbers of embeddings, and the sentences that are made of them."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pretrain.crops import CropSampler
from pretrain.method import Method
from pretrain.parts import exact, unit
from wsseg.device import precision
from wsseg.errors import InputError

PAIRS = 48  # neighbouring crops that are embedded at each reading
COLLAPSED, WEAK = 0.05, 0.3  # spread, 1 for a healthy embedding ...
OF_WIDEST = 0.2  # ... and as a share of the widest of the run: those of other methods are narrow by nature
# Cosine of views, where a method tells it, and a spread. Together they say that any two crops agree, not just
# two views of one; a healthy BYOL on hippocampus images had 0.88 with 0.42.
AGREED, ALIKE = 0.98, 0.15
IN_A_ROW = 3  # readings, before a run is stopped
LEAST_RANK = 0.05  # of the rank that could be
EARLY, PERFECT = 100, 0.99  # a task that is solved so soon is solved by a shortcut
SETTLED = 0.2  # share of the steps after which a task must be better than chance


class Collapsed(InputError):
    """All scans look alike to the encoder; told with what to change."""


def spread(embeddings: Tensor) -> float:
    """Standard deviation of the normalised embeddings (N, D) times √D: 1 = spread evenly, 0 = collapsed.

    Chen & He 2021 (SimSiam), section 4.1.
    """
    return float(unit(embeddings).std(0).mean()) * math.sqrt(embeddings.shape[1])


def rank_me(embeddings: Tensor) -> float:
    """How many directions the embeddings (N, D) use: e to the entropy of their singular values.

    Garrido et al. 2023 (RankMe), equation 1. Differs in: centred first, or the mean counts as a direction.
    """
    values = torch.linalg.svdvals((embeddings - embeddings.mean(0)).double())
    share = values / values.sum().clamp_min(1e-30) + 1e-7
    return float((-(share * share.log()).sum()).exp())


def alignment(ones: Tensor, others: Tensor) -> float:
    """Mean squared distance of embeddings that belong together (Wang & Isola 2020, equation 1); 0 = equal."""
    return float((unit(ones) - unit(others)).square().sum(1).mean())


def uniformity(embeddings: Tensor) -> float:
    """log E exp(−2·distance²) over all pairs (Wang & Isola 2020, equation 2); near 0 = collapsed."""
    distances = torch.pdist(unit(embeddings)).square()
    return float((-2 * distances).exp().mean().log())


def nearest_subject(ones: Tensor, others: Tensor, numbers: Tensor) -> tuple[float, float]:
    """How often the nearest embedding of another place is of the same subject, and how often by chance.

    Args:
        ones, others: (N, D); row i of both is of nearly the same place.
        numbers: int64 (N,), of the subjects.
    """
    alike = unit(others) @ unit(ones).T
    alike.fill_diagonal_(-torch.inf)
    same = numbers.view(-1, 1) == numbers
    hit = same[torch.arange(len(ones)), alike.argmax(1)]
    chance = (same.sum(1) - 1) / max(1, len(ones) - 1)
    return float(hit.double().mean()), float(chance.double().mean())


class Monitor:
    """Embeds the same crops again and again.

    Args:
        sampler: Where the crops are from.
        device: Where the method is.
    """

    def __init__(self, sampler: CropSampler, device: torch.device) -> None:
        ones, others, numbers = sampler.neighbours(PAIRS)
        self.images = torch.from_numpy(ones), torch.from_numpy(others)
        self.numbers, self.device = torch.from_numpy(numbers), device

    @torch.no_grad()
    def read(self, method: Method) -> dict[str, float]:
        """spread, rank, full_rank, alignment, uniformity, nearest, nearest_chance of the method as it is."""
        method.eval()
        ones, others = (self._embed(method, images) for images in self.images)
        method.train()
        nearest, chance = nearest_subject(ones, others, self.numbers)
        return {
            "spread": spread(ones),
            "rank": rank_me(ones),
            "full_rank": float(min(len(ones) - 1, ones.shape[1])),
            "alignment": alignment(ones, others),
            "uniformity": uniformity(ones),
            "nearest": nearest,
            "nearest_chance": chance,
        }

    def _embed(self, method: Method, images: Tensor) -> Tensor:
        with precision(self.device):
            parts = [method.embed(part.to(self.device)) for part in images.split(8)]
        return exact(torch.cat(parts)).cpu()


def judge(rows: Sequence[Mapping[str, float]], steps: int, advice: str) -> list[str]:
    """What should be said of a run, from its rows alone, so that a resumed run says the same.

    Args:
        rows: One a step, each with "step" and "loss"; some with the numbers of `Monitor.read`, and with
            "accuracy" and "chance" where the method has a task.
        steps: Of the whole run.
        advice: Of the method.

    Returns:
        Warnings, a sentence each.

    Raises:
        Collapsed: The last readings all say so, or the loss is no number.
    """
    if rows and not math.isfinite(rows[-1].get("loss", 0.0)):
        raise Collapsed(
            f"The loss is no number any more at step {rows[-1]['step']:.0f}; lower --learning-rate, and look "
            "whether a scan holds extreme values."
        )
    readings = [row for row in rows if "spread" in row]
    return [*_of_embeddings(readings, advice), *_of_task(rows, steps, advice)]


def _of_embeddings(readings: Sequence[Mapping[str, float]], advice: str) -> list[str]:
    if len(readings) <= IN_A_ROW:
        return []
    widest, now = max(row["spread"] for row in readings), readings[-1]
    last = [row["spread"] for row in readings[-IN_A_ROW:]]
    if all(value < COLLAPSED and value < OF_WIDEST * widest for value in last):
        raise Collapsed(
            f"The run has collapsed: all crops look alike to the encoder (spread {last[-1]:.3f}; 1 is "
            f"healthy, it was {widest:.2f}). {advice}"
        )
    # Projections of a fresh network are narrow too, and a broken BYOL's never go below their start: they
    # only fail to spread. What gives it away is that nothing is left to predict.
    alike = [row for row in readings[-IN_A_ROW:] if row.get("similarity", 0.0) > AGREED]
    if len(alike) == IN_A_ROW and all(row["spread"] < ALIKE for row in alike):
        raise Collapsed(
            f"The run has collapsed: what is predicted of a crop fits nearly any other (cosine "
            f"{alike[-1]['similarity']:.3f} with spread {now['spread']:.2f}; 1 is healthy). {advice}"
        )
    if now["spread"] < WEAK and now["spread"] < OF_WIDEST * widest:
        return [
            f"Embeddings are drawing together (spread {now['spread']:.2f}, it was {widest:.2f}). {advice}"
        ]
    if now["rank"] < max(2.0, LEAST_RANK * now["full_rank"]) and now["rank"] < 0.5 * readings[0]["rank"]:
        return [
            f"Embeddings use {now['rank']:.1f} of {now['full_rank']:.0f} directions, at first "
            f"{readings[0]['rank']:.1f}: they are about to collapse. {advice}"
        ]
    return []


def _of_task(rows: Sequence[Mapping[str, float]], steps: int, advice: str) -> list[str]:
    answers = [row for row in rows if "accuracy" in row]
    if not answers:
        return []
    found = []
    early = [row["accuracy"] for row in answers if row["step"] <= EARLY][-EARLY // 5 :]
    if len(early) >= EARLY // 10 and sum(early) / len(early) >= PERFECT:
        found.append(
            f"The task was solved within {EARLY} steps (accuracy {sum(early) / len(early):.2f}): too easy "
            "too soon, most likely by a shortcut such as borders, burnt-in text or scan-wide brightness; "
            "crop those away, or use another --method."
        )
    late = answers[-max(10, len(answers) // 10) :]
    accuracy, chance = (sum(row[name] for row in late) / len(late) for name in ("accuracy", "chance"))
    if rows[-1]["step"] >= max(EARLY, SETTLED * steps) and accuracy < chance + 0.5 * min(0.1, 1 - chance):
        found.append(
            f"The task is still solved by chance (accuracy {accuracy:.2f} of {chance:.2f}). {advice}"
        )
    return found
