"""A memory bank: one embedding for each scan, which crops of that scan are compared with."""

import torch
from torch import Tensor, nn

from pretrain.parts import gather, product, recognised, unit

TEMPERATURE = 0.07  # τ, in both papers
KEPT = 0.5  # of an embedding when its scan is seen again, in both


class Bank(nn.Module):
    """Embeddings of length 1, at first random ones; saved with the state.

    Rows are subjects (blocks of scans where there are few), so that crops of one are never told apart.

    Args:
        scans: How many there are.
        width: D.

    Raises:
        ValueError: There is nothing to be told apart.
    """

    rows: Tensor

    def __init__(self, scans: int, width: int) -> None:
        super().__init__()
        if scans < 2:
            raise ValueError(
                f"a memory of scans needs at least 2 subjects, or blocks of one, to tell apart, not {scans}; "
                "give more or larger scans, or use --method mae."
            )
        self.register_buffer("rows", unit(torch.randn(scans, width)))
        self._waiting: list[tuple[Tensor, Tensor]] = []  # embeddings of this step

    def compare(self, embeddings: Tensor, scans: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and accuracy of telling which scan crops are of, by the non-parametric softmax.

        −log exp(v_i·f/τ) / Σ_j exp(v_j·f/τ), mean over crops (Wu et al. 2018, equation 2).

        Args:
            embeddings: (N, D), any length.
            scans: int64 (N,).
        """
        scores = product(unit(embeddings), self.rows) / TEMPERATURE
        return recognised(scores, scans, torch.ones_like(scans, dtype=torch.bool))

    def remember(self, embeddings: Tensor, scans: Tensor) -> None:
        """Keep embeddings (N, D) for `after_step`."""
        self._waiting.append((unit(embeddings.detach()), scans))

    @torch.no_grad()
    def after_step(self) -> None:
        """Each scan that was seen moves halfway to the mean of its crops' embeddings.

        Differs from the papers in the mean: of two crops of a scan in a batch, the order decides nothing.
        """
        embeddings, scans = (gather(torch.cat(part)) for part in zip(*self._waiting, strict=True))
        self._waiting.clear()
        of = scans == torch.arange(len(self.rows), device=scans.device).view(-1, 1)  # (scans, N)
        member = of.to(embeddings)
        count = member.sum(1, keepdim=True)
        mean = member @ embeddings / count.clamp_min(1)
        moved = unit(KEPT * self.rows + (1 - KEPT) * mean)
        self.rows.copy_(torch.where(count > 0, moved, self.rows))
