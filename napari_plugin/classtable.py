"""The classes by id, each with a name and a colour."""

from collections.abc import Mapping

from wsseg.colours import class_colour
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND


class ClassTable:
    """Ids from 1 to 254; at least one is always there.

    Attributes:
        names: Class id to name, sorted by id.
        colours: Class id to "#RRGGBB".
    """

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.colours: dict[int, str] = {}
        self.add()

    def add(self, class_id: int | None = None) -> int:
        """Add a class, by default under the smallest free id.

        Raises:
            InputError: All 254 are taken.
        """
        free = (k for k in range(1, BACKGROUND) if k not in self.names)
        k = class_id if class_id is not None else next(free, None)
        if k is None:
            raise InputError("There are 254 classes already; no more fit into a hint map.")
        self.names = dict(sorted({**self.names, k: f"class {k}"}.items()))
        self.colours[k] = class_colour(k)
        return k

    def rename(self, class_id: int, name: str) -> None:
        """Give a class another name.

        Raises:
            InputError: The name is empty or another class has it.
        """
        name = name.strip()
        if not name or any(k != class_id and other == name for k, other in self.names.items()):
            raise InputError(f"“{name}” can't be a class's name; one that no other class has is right.")
        self.names[class_id] = name

    def remove(self, class_id: int) -> None:
        """Take a class out.

        Raises:
            InputError: It is the last one.
        """
        if len(self.names) == 1:
            raise InputError("One class must stay; rename it instead.")
        del self.names[class_id], self.colours[class_id]

    def put(self, told: Mapping[int, tuple[str, str] | None]) -> dict[int, tuple[str, str] | None]:
        """Give classes a name and a colour, None = take them out, and say how it was before."""
        before = {k: (self.names[k], self.colours[k]) if k in self.names else None for k in told}
        for k, one in told.items():
            if one is None:
                self.names.pop(k, None)
                self.colours.pop(k, None)
            else:
                self.names[k], self.colours[k] = one
        self.names = dict(sorted(self.names.items()))
        return before

    def replace(self, names: Mapping[int, str]) -> None:
        """Take over these classes; an id that was there keeps its colour."""
        self.names = {int(k): str(names[k]) for k in sorted(names)}
        self.colours = {k: self.colours.get(k, class_colour(k)) for k in self.names}
