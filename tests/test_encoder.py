"""An encoder is saved, loaded and handed to a network, tensor by tensor."""

from dataclasses import replace

import pytest
import torch
from test_unet import SMALL

from wsseg.encoder import SavedEncoder, load_encoder
from wsseg.errors import InputError
from wsseg.unet import Encoder, UNet, take_weights


@pytest.mark.parametrize("dims", [2, 3])
def test_save_load_and_hand_over(tmp_path, dims):
    encoder = Encoder(SMALL[dims])
    SavedEncoder(encoder, {"method": "simclr", "spacing": [1.0, 2.0]}).save(tmp_path / "enc")
    again = load_encoder(tmp_path / "enc")
    assert again.record == {"method": "simclr", "spacing": [1.0, 2.0]}
    assert again.encoder.config == encoder.config
    network = UNet(Encoder(SMALL[dims]), 4)
    assert str(take_weights(network.encoder, again.encoder.state_dict())).startswith("loaded 100 %")
    image = torch.randn(1, SMALL[dims].channels_in, *[8] * dims)
    with torch.no_grad():
        for a, b in zip(network.encoder(image), encoder(image), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_decoder_goes_with_it(tmp_path, dims):
    trained, fresh = UNet(Encoder(SMALL[dims]), 1), UNet(Encoder(SMALL[dims]), 4)
    ups = {name: tensor for name, tensor in trained.state_dict().items() if name.startswith("ups.")}
    SavedEncoder(trained.encoder, {}, ups).save(tmp_path / "enc")
    taken = load_encoder(tmp_path / "enc").hand_over(fresh)
    assert taken.counts == {
        "loaded": len(trained.encoder.state_dict()),
        "total": len(trained.encoder.state_dict()),
        "decoder": len(ups),
    }
    assert str(taken).endswith(f"and {len(ups)} of the decoder")
    for name, tensor in fresh.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(tensor, trained.state_dict()[name])


@pytest.mark.parametrize("dims", [2, 3])
def test_grey_and_colour_give_the_same_on_a_grey_image(dims):
    """By the rule for channels, an image repeated to three channels is to a changed encoder what it was."""
    torch.manual_seed(0)
    grey = SavedEncoder(Encoder(replace(SMALL[dims], channels_in=1)))
    image = torch.randn(2, 1, *[8] * dims)
    three = image.expand(2, 3, *[8] * dims)
    colour = grey.for_channels(3)
    back = colour.for_channels(1)
    with torch.no_grad():
        for a, b, c in zip(grey.encoder(image), colour.encoder(three), back.encoder(image), strict=True):
            assert torch.allclose(a, b, atol=1e-5)
            assert torch.allclose(a, c, atol=1e-5)
    assert grey.for_channels(1) is grey
    with pytest.raises(InputError, match="with 3 channels, these have 2"):
        colour.for_channels(2)


def test_the_hand_over_is_strict():
    narrow = replace(SMALL[2], channels=tuple(c + 1 for c in SMALL[2].channels))
    with pytest.raises(InputError, match="architectures differ, first at"):
        SavedEncoder(Encoder(narrow)).hand_over(UNet(Encoder(SMALL[2]), 2))


@pytest.mark.parametrize(
    ("record", "spacing", "rgb", "says"),
    [
        ({"spacing": [1, 1]}, (1, 1.2), False, []),
        ({"spacing": [1, 1]}, (1, 0.7), False, ["1 × 0.7: more than 25 %"]),
        ({"spacing": [1, 1], "rgb": True}, (1, 1), False, ["from colour images, these are grey"]),
        ({}, (9, 9), True, []),
    ],
)
def test_what_does_not_suit_is_told(record, spacing, rgb, says):
    found = SavedEncoder(Encoder(SMALL[2]), record).warnings(spacing, rgb)
    assert [part in sentence for part, sentence in zip(says, found, strict=True)] == [True] * len(says)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", "no json", "no config.json of a wsseg encoder"),
        ("config.json", '{"format": 1, "kind": "model"}', "holds a model"),
        ("config.json", '{"format": 1, "kind": "encoder"}', "lacks or misspells"),
        ("weights.safetensors", "half", "damaged"),
    ],
)
def test_damaged_folders(tmp_path, file, content, says):
    SavedEncoder(Encoder(SMALL[2])).save(tmp_path / "enc")
    (tmp_path / "enc" / file).write_text(content)
    with pytest.raises(InputError, match=says):
        load_encoder(tmp_path / "enc")


def test_weights_of_another_architecture(tmp_path):
    SavedEncoder(Encoder(SMALL[2])).save(tmp_path / "two")
    SavedEncoder(Encoder(SMALL[3])).save(tmp_path / "three")
    (tmp_path / "two/weights.safetensors").replace(tmp_path / "three/weights.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        load_encoder(tmp_path / "three")
