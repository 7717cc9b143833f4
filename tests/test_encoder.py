"""An encoder is saved, loaded and handed to a network, tensor by tensor."""

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


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", "no json", "no config.json of a wsseg encoder"),
        ("config.json", '{"format": 1, "kind": "model"}', "is a model of format 1"),
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
