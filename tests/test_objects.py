"""Numbered objects, class by class, and those that the network is unsure of."""

import numpy as np
import pytest
from scipy import ndimage
from tiny import SIZE, tiny_model, wsseg_

from wsseg.images import list_images, read_labels
from wsseg.objects import label_instances, leave_out_unsure


@pytest.mark.parametrize("dims", [2, 3])
def test_instances_are_those_of_a_labelling_class_by_class(dims):
    mask = (np.random.default_rng(3).random(SIZE[dims]) * 3).astype(np.uint8)
    found = label_instances(mask)
    count = 0
    for class_id in (1, 2):
        alone, number = ndimage.label(mask == class_id)  # faces only, as here
        count += number
        for k in range(1, number + 1):
            assert len(np.unique(found[alone == k])) == 1
    assert len(np.unique(found[mask > 0])) == found.max() == count
    assert not found[mask == 0].any()


def test_split_instances_are_numbered_over_all_classes():
    mask = np.zeros((30, 40), np.uint8)
    y, x = np.indices(mask.shape)
    for k, row in ((1, 8), (2, 22)):
        for column in (10, 21):
            mask[(y - row) ** 2 + (x - column) ** 2 <= 36] = k
    assert label_instances(mask).max() == 2
    found = label_instances(mask, spacing=(1.0, 1.0))
    assert sorted(np.unique(found)) == [0, 1, 2, 3, 4]
    assert all(len(np.unique(mask[found == number])) == 1 for number in range(1, 5))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("least", [0.0, 0.55, 0.65, 1.0])
def test_the_score_is_the_mean_over_an_object(dims, least):
    rng = np.random.default_rng(7)
    size = SIZE[dims]
    chance = rng.random((3, *size)) ** 3
    chance[:, : size[0] // 2] **= 0.3  # half of them less sure
    chance = (chance / chance.sum(0)).astype(np.float32)
    objects = label_instances(chance.argmax(0).astype(np.uint8))
    found = leave_out_unsure(objects, chance, least)
    count = 0
    for k in range(1, objects.max() + 1):
        there = objects == k
        class_id = chance[:, there].argmax(0)[0]
        stays = chance[class_id][there].mean(dtype=np.float64) >= least
        count += stays
        assert (found[there] == (count if stays else 0)).all()
    assert found.max() == count
    assert not found[objects == 0].any()
    assert (count == 0) == (least == 1)


def test_nothing_stays_nothing():
    nothing = np.zeros((4, 5), np.int32)
    assert not leave_out_unsure(nothing, np.ones((2, 4, 5), np.float32), 0.8).any()


def test_by_the_command_line(tmp_path, data, dims):
    tiny_model(dims).save(tmp_path / "model")
    command = ["predict", tmp_path / "model", data / "images", "--out", tmp_path / "masks"]
    assert "add --instances" in wsseg_(*command, "--min-score", 0.5, code=2).stderr
    wsseg_(*command, "--instances")
    before = {stem: read_labels(path) for stem, path in list_images(tmp_path / "masks" / "instances").items()}
    masks = {stem: read_labels(path) for stem, path in list_images(tmp_path / "masks").items()}
    told = wsseg_(*command, "--instances", "--min-score", 1, code=2).stderr
    assert "--min-score was 0 and is 1; choose another --out, or the same value." in told
    shown = wsseg_(*command, "--instances", "--min-score", 1, "--overwrite").stdout
    count = sum(int(labels.max()) for labels in before.values())
    assert f"--min-score left out {count} of {count} objects; the network is nowhere so sure: choose" in shown
    assert any(labels.any() for labels in before.values())
    for path in list_images(tmp_path / "masks" / "instances").values():
        assert not read_labels(path).any()  # no network is as sure as that
    for stem, path in list_images(tmp_path / "masks").items():
        np.testing.assert_array_equal(read_labels(path), masks[stem])
