"""One of two processes that share a batch; imports little, since it is imported anew in each."""

import copy

import torch
import torch.distributed as dist

from pretrain.alike import supervised_contrast
from pretrain.bank import Bank
from pretrain.codes import swav_loss
from pretrain.parts import gather, nt_xent, unit


def batch() -> tuple[torch.Tensor, ...]:
    """Inputs of two views (8, 6), subjects (8,), and the weights of a linear network (6, 5)."""
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 8, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    return first, second, torch.arange(8) // 2, weight


def losses(weight: torch.Tensor, mine: slice = slice(None)) -> dict[str, torch.Tensor]:
    """Losses of a share of the batch, as methods compute them; "memory" is what a bank then holds."""
    first, second, scans, _ = batch()
    one, two = (gather(view[mine] @ weight) for view in (first, second))
    torch.manual_seed(0)
    prototypes, bank = unit(torch.randn(3, 5, dtype=torch.float64)), Bank(4, 5).double()
    later = copy.deepcopy(bank)
    later.remember(first[mine] @ weight, scans[mine])
    later.after_step()
    tagged = torch.stack([scans, scans % 2], 1)
    return {
        "nt_xent": nt_xent(one, two, gather(scans[mine]), 0.2).loss,
        "swav": swav_loss(unit(one) @ prototypes.T, unit(two) @ prototypes.T, 0.1),
        "supcon": supervised_contrast(one, two, gather(tagged[mine]), 0.1).loss,
        "bank": bank.compare(first[mine] @ weight, scans[mine])[0],  # every process its own rows
        "memory": later.rows,
    }


def one_of_two(rank: int, store: str, queue) -> None:
    """Losses of half a batch; process 0 puts them and their mean gradients into the queue."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    weight = batch()[-1].requires_grad_()
    found = losses(weight, slice(4 * rank, 4 * rank + 4))
    told = {"memory": (found.pop("memory").tolist(), None)}
    for name, loss in found.items():
        (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
        mean = loss.detach().clone()
        for value in (gradient, mean):  # DistributedDataParallel takes the mean over processes
            dist.all_reduce(value)
        told[name] = (mean.item() / 2, (gradient / 2).tolist())
    if rank == 0:
        queue.put(told)
    dist.barrier()
    dist.destroy_process_group()
