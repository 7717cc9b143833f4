"""Probabilities of the answer while drawing: those of the mask on show, given again."""

import nibabel
import numpy as np
import pytest
import tifffile
from test_controller import run as work
from test_instanttool import hasty, mask_of, paint, preview, ready, run, scene  # noqa: F401

from napari_plugin.results import find
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND


@pytest.mark.parametrize("objects", ["auto", "marked", "alike", "off"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_they_sum_to_one_and_the_likeliest_class_is_the_mask_on_show(ndim, objects, tmp_path):
    _, controller = ready(ndim, scale=(2.0,) * ndim)
    controller.set("objects", objects)
    paint(controller)
    controller.add_class(5)
    controller.hints.paint((3,) * ndim, 5)
    tool = controller.instant
    run(tool, tool.due())
    controller.accept_object((2.0 * 12,) * ndim, [ndim - 2, ndim - 1])
    mask = mask_of(controller).copy()
    assert set(np.unique(mask)) == {0, 1, 5}
    path = tmp_path / "p.tif"
    work(controller, controller.leaving.export("probabilities", "TIFF", path))
    found = tifffile.imread(path)
    assert found.shape == (3, *mask.shape)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 1, 5])[found.argmax(0)], mask)
    assert "background, class 1, class 5, in this order" in controller.message
    # it is what the answer went by: the doubt on show is that of the two likeliest
    second, first = np.sort(found, 0)[-2:]
    doubt = find(controller.layers, controller.image, "doubt")
    assert doubt is None
    told = tool.masks.doubt(controller.image) / 255
    free = controller.lock.map_of(controller.image) + controller.hints.data == 0
    np.testing.assert_allclose(told[free], 1 - (first - second)[free], atol=0.02)


def test_a_volume_as_nifti_has_classes_last(tmp_path):
    _, controller = ready(3)
    paint(controller)
    run(controller.instant, controller.instant.due())
    work(controller, controller.leaving.export("probabilities", "NIfTI", tmp_path / "p.nii.gz"))
    found = nibabel.load(tmp_path / "p.nii.gz").get_fdata()
    assert found.shape == (24, 24, 24, 2)
    mask = mask_of(controller)
    np.testing.assert_array_equal(
        np.sort(np.unique(found.argmax(-1), return_counts=True)[1]),
        np.sort(np.unique(mask, return_counts=True)[1]),
    )


def test_those_of_the_network_where_its_mask_is_on_show(tmp_path):
    _, controller = ready(2)
    paint(controller)
    run(controller.instant, controller.instant.due())
    assert controller.instant.asked() is not None
    preview(controller, 1, done=9)
    assert controller.instant.asked() is None
    with pytest.raises(InputError, match="Nothing tells"):  # this network has no model
        controller.leaving.export("probabilities", "TIFF", tmp_path / "p.tif")
    controller.instant.choose("instant")
    work(controller, controller.leaving.export("probabilities", "TIFF", tmp_path / "p.tif"))
    assert (tmp_path / "p.tif").exists()


def test_with_one_class_there_is_nothing_to_tell(tmp_path):
    _, controller = ready(2)
    controller.hints.paint((12, 12), BACKGROUND)
    run(controller.instant, controller.instant.due())
    with pytest.raises(InputError, match="mark two classes"):
        work(controller, controller.leaving.export("probabilities", "TIFF", tmp_path / "p.tif"))
    assert not list(tmp_path.iterdir())
