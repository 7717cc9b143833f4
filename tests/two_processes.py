"""One of two processes that share a batch; imports little, since it is imported anew in each."""

import torch
import torch.distributed as dist

from pretrain.parts import gather, nt_xent


def batch() -> tuple[torch.Tensor, ...]:
    """Inputs of two views (8, 6), subjects (8,), and the weights of a linear network (6, 5)."""
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 8, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    return first, second, torch.arange(8) // 2, weight


def one_of_two(rank: int, store: str, queue) -> None:
    """NT-Xent of half a batch; process 0 puts the loss and the mean gradient into the queue."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    first, second, scans, weight = batch()
    mine = slice(4 * rank, 4 * rank + 4)
    weight.requires_grad_()
    views = gather(first[mine] @ weight), gather(second[mine] @ weight)
    loss = nt_xent(*views, gather(scans[mine]), 0.2).loss
    loss.backward()
    dist.all_reduce(weight.grad)  # DistributedDataParallel takes the mean over processes
    if rank == 0:
        queue.put((loss.item(), (weight.grad / 2).tolist()))
    dist.barrier()
    dist.destroy_process_group()
