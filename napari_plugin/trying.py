"""What came of an action that may refuse: its value, or nothing. Knows neither Qt nor napari."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tried:
    """True where an action went well, whatever it gave.

    Attributes:
        well: Whether it went well.
        value: What it gave; None where it refused.
    """

    well: bool
    value: Any = None

    def __bool__(self) -> bool:
        return self.well
