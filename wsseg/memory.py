"""Bytes as a person says them, and out of memory as a sentence with a tile size that would fit."""

from collections.abc import Sequence

from wsseg.errors import InputError


class TileTooLarge(InputError):
    """A tile did not fit into memory: no further image can be predicted with it either."""


_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def in_words(count: float) -> str:
    """So many bytes as a person says it, rounded: "20 MB", "1.5 GB"; 1 MB at least."""
    megabytes = max(1, round(count / 1e6))
    return f"{megabytes} MB" if megabytes < 1000 else f"{count / 1e9:.1f} GB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on a GPU.

    torch raises a plain RuntimeError on the CPU and on MPS, so there the words decide.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def smaller_tile(tile: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...] | None:
    """Half the tile along each axis, as a multiple of the divisor; None where it can't get smaller.

    Args:
        tile: Tile size that did not fit, voxels.
        divisor: What a tile must be a multiple of along each axis.
    """
    smaller = tuple(max(d, t // 2 // d * d) for t, d in zip(tile, divisor, strict=True))
    return None if smaller == tuple(tile) else smaller


def tile_advice(name: str, tile: Sequence[int], divisor: Sequence[int]) -> TileTooLarge:
    """The error to raise when a tile of this size did not fit into memory.

    Args:
        name: The image at work, as the sentence shall call it.
        tile: Tile size that did not fit, voxels.
        divisor: What a tile must be a multiple of along each axis.
    """
    came = "×".join(map(str, tile))
    smaller = smaller_tile(tile, divisor)
    if smaller is None:
        return TileTooLarge(
            f"{name}: not enough memory, even for the smallest tile of {came}; close other programs, or use "
            "--device cpu."
        )
    option = ",".join(map(str, smaller))
    return TileTooLarge(f"{name}: not enough memory for a tile of {came}; try --tile {option}.")
