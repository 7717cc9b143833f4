"""Numbers in sentences."""


def counted(count: int, what: str) -> str:
    """So many of something, by its plural in -s or -es: "1 click", "3 boxes"."""
    one = what.removesuffix("es") if what.endswith("xes") else what.removesuffix("s")
    return f"{count} {one if count == 1 else what}"
