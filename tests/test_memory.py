"""Out of memory becomes a sentence with a tile size that would fit."""

import numpy as np
import pytest
import torch

from wsseg.memory import in_words, is_out_of_memory, smaller_tile, tile_advice


@pytest.mark.parametrize(
    ("tile", "divisor", "right"),
    [
        ((64, 64, 32), (8, 8, 8), (32, 32, 16)),
        ((72, 40), (16, 16), (32, 16)),  # 36 and 20 are no multiples of 16
        ((24, 8), (8, 8), (8, 8)),
        ((16, 16, 4), (8, 8, 1), (8, 8, 2)),
        ((8, 8), (8, 8), None),
    ],
)
def test_the_smaller_tile_is_half_and_a_multiple_of_the_divisor(tile, divisor, right):
    assert smaller_tile(tile, divisor) == right


def test_halving_again_and_again_comes_to_an_end():
    tile, seen = (96, 80, 56), []
    while tile:
        seen.append(np.prod(tile))
        tile = smaller_tile(tile, (8, 8, 8))
    assert seen == sorted(set(seen), reverse=True)
    assert seen[-1] == 8**3


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((10,), np.dtype("u1")), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("Given groups=1, weight of size [16, 1, 3, 3]"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, right):
    assert is_out_of_memory(error) is right


def test_what_torch_itself_says_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert is_out_of_memory(caught.value)


def test_the_advice_can_be_typed_as_it_stands():
    sentence = str(tile_advice("scan.nii.gz", (64, 64, 32), (8, 8, 8)))
    assert sentence.startswith("scan.nii.gz: ")
    assert "--tile 32,32,16" in sentence


def test_there_is_another_advice_for_the_smallest_tile():
    sentence = str(tile_advice("scan.nii.gz", (8, 8), (8, 8)))
    assert "--tile" not in sentence
    assert "--device cpu" in sentence


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "1 MB"),
        (19.2e6, "19 MB"),
        (999.4e6, "999 MB"),
        (999.6e6, "1.0 GB"),
        (1.5e9, "1.5 GB"),
        (20e9, "20.0 GB"),
    ],
)
def test_sizes_are_told_as_a_person_does(count, words):
    assert in_words(count) == words
