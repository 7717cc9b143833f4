"""Orders of tiles that differ from each other in as many places as possible."""

from functools import lru_cache
from itertools import permutations
from math import factorial

import numpy as np

POOL = 400_000  # with more orders than this, the set is chosen from so many random ones
SAMPLE = 20_000


@lru_cache
def far_permutations(tiles: int, count: int, seed: int = 0) -> np.ndarray:
    """A set of permutations with a large least Hamming distance.

    Greedy, as in Noroozi & Favaro 2016 (algorithm 1), but the next one is that whose *least* distance to
    those chosen is largest (ties: largest sum). By the mean, as is often done, two may differ in just two
    tiles, and a puzzle of two similar tiles has no answer.

    Args:
        tiles: Length of a permutation.
        count: How many; fewer where there are not so many.
        seed: Of the first one and of the random pool.

    Returns:
        int64 (count, tiles), all different.
    """
    rng = np.random.default_rng(seed)
    if factorial(tiles) <= POOL:
        pool = np.array(list(permutations(range(tiles))), np.int8)
    else:
        pool = np.unique(rng.permuted(np.tile(np.arange(tiles, dtype=np.int8), (SAMPLE, 1)), axis=1), axis=0)
    count = min(count, len(pool))
    columns = np.ascontiguousarray(pool.T)  # comparing long rows is ten times as fast
    chosen = [int(rng.integers(len(pool)))]
    least = np.full(len(pool), tiles, np.int32)
    total = np.zeros(len(pool), np.int32)
    while len(chosen) < count:
        distance = np.zeros(len(pool), np.uint8)
        for column, tile in zip(columns, pool[chosen[-1]], strict=True):
            distance += column != tile
        np.minimum(least, distance, out=least)
        total += distance
        chosen.append(int((least * (tiles * count + 1) + total).argmax()))
    return pool[chosen].astype(np.int64)


def least_distance(orders: np.ndarray) -> int:
    """In how many places the two most similar of (P, T) differ; T where there is only one."""
    rest = [(orders[i + 1 :] != orders[i]).sum(1).min() for i in range(len(orders) - 1)]
    return int(min(rest, default=orders.shape[1]))
