"""The encoder that the plugin's training starts from: taken whole, told, kept through runs, and dropped."""

import pytest
import torch
from test_controller import run, scene

from napari_plugin.encodertool import EncoderTool
from napari_plugin.events import Note, Opened
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.unet import Encoder, plan_encoder


def save(folder, dims, *, channels_in=1, spacing=2.0):
    shape = plan_encoder(channels_in=channels_in, spacing=(1.0,) * dims, size=(16,) * dims, channels=(4, 8))
    torch.manual_seed(3)
    record = {"method": "mae", "spacing": [spacing] * dims, "rgb": False}
    saved = SavedEncoder(Encoder(shape), record)
    saved.save(folder)
    return saved


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_next_segment_starts_from_it_and_says_so(tmp_path, ndim):
    saved = save(tmp_path / "mine", ndim)
    _, controller = scene(ndim)
    run(controller, controller.segment(steps=1))
    assert controller.encoder.words(controller.model) == ""
    run(controller, controller.use_encoder(tmp_path / "mine"))
    assert controller.model is None  # else the next training would go on from it
    assert controller.message == "The next run starts from the encoder mine."
    assert controller.encoder.words(None) == "mine (mae): the next Segment starts from it."
    events = run(controller, controller.segment(steps=1))
    total = len(saved.encoder.state_dict())
    told = f"loaded 100 %, {total}/{total} tensors."
    assert f"Encoder: {told}" in [event.text for event in events if isinstance(event, Note)]
    assert controller.encoder.words(controller.model) == f"mine (mae): {told}"
    # in its first step a pretrained encoder waits, so its weights are still those of the file
    trained = controller.model.net.encoder.state_dict()
    assert all(torch.equal(trained[k], v) for k, v in saved.encoder.state_dict().items())
    run(controller, controller.segment(steps=1))  # on from the model, not anew from the encoder
    assert controller.model.config.encoder == {"loaded": total, "total": total}
    controller.forget_model()
    assert "the encoder mine" in controller.message
    run(controller, controller.segment(steps=1))
    assert controller.model.config.encoder is not None
    controller.drop_encoder()
    assert "Forget model" in controller.message
    assert controller.encoder.words(controller.model) == ""
    controller.forget_model()
    assert "fresh weights" in controller.message
    run(controller, controller.segment(steps=1))
    assert controller.model.config.encoder is None


def test_a_spacing_far_off_is_told(tmp_path):
    save(tmp_path / "fine", 2, spacing=0.5)
    _, controller = scene(2)  # of 2 a pixel
    run(controller, controller.use_encoder(tmp_path / "fine"))
    events = run(controller, controller.segment(steps=1))
    assert any("more than 25 % apart" in event.text for event in events if isinstance(event, Note))


def test_an_encoder_for_other_images_is_refused_before_anything_runs(tmp_path):
    save(tmp_path / "solid", 3)
    _, controller = scene(2)
    run(controller, controller.use_encoder(tmp_path / "solid"))
    with pytest.raises(InputError, match=r"solid learned from 3D images.*square is 2D with 1.*Press Drop"):
        controller.segment(steps=1)
    assert controller.run is None
    controller.drop_encoder()
    run(controller, controller.segment(steps=1))
    assert controller.model is not None


@pytest.mark.parametrize(("own", "image", "fits"), [(1, 3, True), (3, 1, True), (2, 3, False), (3, 3, True)])
def test_channels_that_can_be_changed_are_no_reason_to_refuse(tmp_path, own, image, fits):
    tool = EncoderTool()
    tool.take(Opened(save(tmp_path / "mine", 2, channels_in=own), tmp_path / "mine"))
    picture = Image(torch.zeros(image, 8, 8).numpy(), (1.0, 1.0))
    if fits:
        tool.check(picture, "picture")
    else:
        with pytest.raises(InputError, match=f"with {own} channels; picture is 2D with {image}"):
            tool.check(picture, "picture")


def test_a_folder_that_is_no_encoder_changes_nothing(tmp_path):
    _, controller = scene(2)
    run(controller, controller.segment(steps=1))
    model = controller.model
    with pytest.raises(InputError, match="no encoder folder"):
        run(controller, controller.use_encoder(tmp_path))
    assert controller.model is model
    assert controller.encoder.saved is None
