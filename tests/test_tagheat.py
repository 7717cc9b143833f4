"""Tags of images in memory: the same heat and thresholds as `wsseg seeds` finds from files."""

import json

import numpy as np
import pytest
from test_seeds import narrow, tagged_squares  # noqa: F401  narrow: networks that train in a moment

from wsseg.bags import Bag, make_bags, read_bags
from wsseg.classifier import load_classifier
from wsseg.dataset import open_dataset
from wsseg.folder import Item
from wsseg.hints import Tag
from wsseg.images import read_image
from wsseg.seedrun import SeedRun, seed_steps
from wsseg.seeds import SeedConfig
from wsseg.steps import Step, finish
from wsseg.tagcheck import check_words
from wsseg.tagfit import TagConfig
from wsseg.tagheat import heat_images, join_parts, part_of

CPU = TagConfig(steps=8, device="cpu")


def in_memory(dataset):
    """The images by stem, and the bags, as one gets them without a folder."""
    images = {item.stem: read_image(item.image) for item in dataset.items}
    tags = {item: dataset.tags[item.stem] for item in dataset.items}
    return images, make_bags(tags, lambda item: images[item.stem].shape, {4: "square", 9: "-"}, "Tags")


def slices_tagged(data, truths):
    lines = [
        f"{stem},{'square' if truth[:, index].any() else ''},1,{index}"
        for stem, truth in truths.items()
        for index in range(0, truth.shape[1], 2)
    ]
    (data / "tags.csv").write_text("image,class,axis,slice\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("slices", [False, True])
def test_images_in_memory_lead_to_what_their_files_lead_to(tmp_path, slices):
    data, truths = tagged_squares(tmp_path / "data", 3 if slices else 2, count=6 if slices else 8)
    if slices:
        slices_tagged(data, truths)
    dataset = open_dataset(data)
    images, bags = in_memory(dataset)
    assert bags == read_bags(dataset)
    run = SeedRun(CPU, SeedConfig(smooth=0.0), force=True)
    finish(seed_steps(dataset, read_bags(dataset), run, tmp_path / "out"))
    quality = json.loads((tmp_path / "out/quality.json").read_text())
    steps, heating = [], heat_images(images, bags, CPU)
    while True:
        try:
            steps.append(next(heating))
        except StopIteration as end:
            found = end.value
            break
    assert [step.index for step in steps if step.stage == "classify"][:8] == list(range(1, 9))
    heat = [step for step in steps if step.stage == "heat"]
    assert heat[-1].index == heat[-1].total == (6 * 12 if slices else 8)
    assert found.model.config.quality["auc"] == quality["auc"]
    assert found.thresholds[4].upper == pytest.approx(quality["thresholds"]["4"]["upper"])
    assert set(found.heat) == set(images)
    kept = next((tmp_path / "out/heat").glob("i01.*"))
    written = np.asarray(read_image(kept, channel_axis=3 if slices else None).data)
    np.testing.assert_allclose(found.heat["i01"].reshape(written.shape), written, rtol=1e-5)
    assert check_words(found.model.config) == check_words(load_classifier(tmp_path / "out/classifier").config)


def test_maps_that_mean_nothing_are_not_made(tmp_path):
    data, _ = tagged_squares(tmp_path / "data", 2, random=True, count=24)
    images, bags = in_memory(open_dataset(data))
    steps = heat_images(images, bags, TagConfig(steps=4, device="cpu"))
    found = finish(steps)
    assert found.model.config.quality["meaningless"] == [4]
    assert found.heat == {}
    assert found.thresholds == {4: None}
    assert check_words(found.model.config)[0].endswith("its maps mean nothing.")


def test_a_volume_is_seen_slice_by_slice_and_put_together_again(tmp_path):
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(2, 4, 5, 6)).astype(np.float32)
    for axis in range(3):
        parts = [volume.take(index, axis + 1) for index in range(volume.shape[axis + 1])]
        np.testing.assert_array_equal(join_parts(parts, axis), volume)
        bag = Bag(Item("a", tmp_path), frozenset(), 2)
        np.testing.assert_array_equal(part_of(volume, bag, axis), parts[2])
    assert part_of(volume, Bag(Item("a", tmp_path), frozenset()), None) is volume
    assert join_parts([volume], None) is volume


def test_reading_is_told_image_by_image(tmp_path):
    data, _ = tagged_squares(tmp_path / "data", 2, count=6)
    images, bags = in_memory(open_dataset(data))
    steps = heat_images(images, bags, CPU)
    assert [next(steps) for _ in range(2)] == [
        Step("read", index, 6, info={"file": f"i0{index - 1}.png"}) for index in (1, 2)
    ]


def test_bags_of_images_that_have_no_file(tmp_path):
    items = [Item(f"layer {index}", tmp_path / "leaf") for index in range(6)]
    tags = {item: frozenset({Tag(2)} if index < 3 else ()) for index, item in enumerate(items)}
    bags = make_bags(tags, lambda item: (4, 4), {1: "stem", 2: "rust"}, "Tags")
    assert bags.classes == {2: "rust"}
    assert bags.table()[:, 0].tolist() == [True] * 3 + [False] * 3
