"""What the user says of the training: in the undo of everything, and in the session. Knows no Qt."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from wsseg.propagate import Meaning

MOST_STEPS = 100_000
WORDS = {"objects": "what strokes mark", "steps": "training steps", "keep_learning": "Keep learning"}


def swap(owner: Any, name: str, value: Any) -> Any:
    """Set an attribute, and give what it was."""
    now = getattr(owner, name)
    setattr(owner, name, value)
    return now


@dataclass(eq=False)
class Settings:
    """Of the image at work and the next ones.

    Attributes:
        objects: What strokes mean, see `wsseg.propagate`.
        steps: Of a training; 0 = as many as suit the hints.
        keep_learning: Go on after a run when more is marked.
    """

    objects: "Meaning" = "auto"
    steps: int = 0
    keep_learning: bool = False

    def told(self) -> dict[str, Any]:
        """JSON values of what is not as usual, for a session."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}

    def take(self, told: Mapping[str, Any]) -> None:
        """Take over those of a session; what this version can't use is as usual."""
        from wsseg.propagate import Meaning

        for one in fields(self):
            value = told.get(one.name)
            known = value in get_args(Meaning) if one.name == "objects" else type(value) is type(one.default)
            if one.name == "steps" and isinstance(value, int):
                known = known and 0 <= value <= MOST_STEPS
            setattr(self, one.name, value if known else one.default)
