"""What is odd about simulated hints: tags that tell nothing apart, truths that number objects."""

from collections.abc import Collection, Mapping

from wsseg.hints import Tag

MANY = 10  # values from 1 on without a gap in one truth, from which they look like numbers of objects


def tag_doubts(tags: Mapping[str, Collection[Tag]], names: Mapping[int, str]) -> list[str]:
    """Classes that every tagged image (or slice) has, a sentence for all of them.

    Args:
        tags: Stem to the tags of an image; of class 0 where a slice has none.
        names: Class id to name.
    """
    bags: dict[tuple, set[int]] = {}
    for stem, own in tags.items():
        for tag in own or (Tag(0),):
            bags.setdefault((stem, tag.axis, tag.slice), set()).add(tag.class_id)
    everywhere = [name for k, name in names.items() if all(k in classes for classes in bags.values())]
    if not everywhere:
        return []
    what = "slice" if any(axis is not None for _, axis, _ in bags) else "image"
    instead = ", or tag slices of volumes (--every K)" if what == "image" else ""
    return [
        f"Every tagged {what} has {', '.join(everywhere)}, so tags teach nothing of where that is; add "
        f"{what}s without it{instead}."
    ]


def instance_doubts(values: Mapping[str, Collection[int]]) -> list[str]:
    """Whether the truths look as if they numbered objects: from 1 without a gap, up to as many as there are.

    Args:
        values: Stem to the values in its truth but 0.
    """
    counts = {stem: len(own) for stem, own in values.items()}
    most = max(counts, key=counts.__getitem__)
    gapless = all(set(own) == set(range(1, len(own) + 1)) for own in values.values())
    # the same regions in every image are classes, however many; objects differ in number
    alike = len(counts) > 1 and len(set(counts.values())) == 1
    if counts[most] < MANY or not gapless or alike:
        return []
    return [
        f"The masks look as if they numbered objects ({most} has the values 1 to {counts[most]}), which are "
        "taken for as many classes here; --instances takes them for objects of one class."
    ]
