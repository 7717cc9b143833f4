"""Torchvision's ResNets as encoders, its own forward the oracle; weights are random, none are downloaded."""

import json

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from tiny import make_dataset, write_picture, wsseg_

from wsseg.classifier import Classifier, first_levels
from wsseg.encoder import load_encoder
from wsseg.errors import InputError
from wsseg.model import load_model
from wsseg.resnet import BLOCKS, resnet_channels
from wsseg.unet import Encoder, UNet, take_weights

models = pytest.importorskip("torchvision.models")


def make(name: str, path, seed: int = 0):
    """A ResNet with random weights and statistics, and its file."""
    torch.manual_seed(seed)
    net = getattr(models, name)(weights=None, num_classes=5)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    save_file(net.state_dict(), path)
    return net.eval()


def features_of(net, images):
    """What torchvision computes at each of its levels."""
    found = [net.relu(net.bn1(net.conv1(images)))]
    inside = net.maxpool(found[0])
    for level in (net.layer1, net.layer2, net.layer3, net.layer4):
        inside = level(inside)
        found.append(inside)
    return found


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_features_are_torchvisions(tmp_path, name):
    net = make(name, tmp_path / "net.safetensors")
    saved = load_encoder(tmp_path / "net.safetensors")
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        levels = saved.encoder(images)
        training = saved.encoder.train()(images)
        expected = features_of(net, images)
    assert torch.equal(levels[0][:, :3], images)
    assert not levels[0][:, 3:].any()
    for ours, theirs in zip(levels[1:], expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    for one, other in zip(levels, training, strict=True):  # batches do not change what it computes
        torch.testing.assert_close(one, other)
    assert [level.shape[1] for level in levels] == list(resnet_channels(name))
    assert saved.encoder.config.divisor == (32, 32)
    assert saved.encoder.config.backbone == name


def test_a_grey_image_gives_what_it_gives_repeated_to_three_channels(tmp_path):
    net = make("resnet18", tmp_path / "net.safetensors")
    saved = load_encoder(tmp_path / "net.safetensors").for_channels(1)
    grey = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = saved.encoder(grey)[1:], features_of(net, grey.repeat(1, 3, 1, 1))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert saved.encoder.config.channels_in == 1


def test_training_changes_scale_and_shift_but_no_statistics(tmp_path):
    make("resnet18", tmp_path / "net.safetensors")
    encoder = load_encoder(tmp_path / "net.safetensors").encoder
    net = UNet(encoder, 2).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad.any() for parameter in encoder.parameters())
    assert len(before) > 50
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_fit_starts_from_it_and_predict_builds_it_again(tmp_path, kind):
    data = make_dataset(tmp_path / "data", 2)
    if kind == "colour":
        for path in (data / "images").iterdir():
            write_picture(path, np.repeat(np.asarray(Picture.open(path))[..., None], 3, -1))
    make("resnet18", tmp_path / "net.safetensors")
    saved = load_encoder(tmp_path / "net.safetensors")
    total = len(saved.encoder.state_dict())
    told = wsseg_(
        "fit", data, "--out", tmp_path / "model", "--encoder", tmp_path / "net.safetensors", "--steps", 2
    )
    assert f"loaded 100 %, {total}/{total} tensors" in told.output
    model = load_model(tmp_path / "model")
    assert model.config.architecture.backbone == "resnet18"
    assert model.config.architecture.channels_in == (3 if kind == "colour" else 1)
    assert model.config.provenance["encoder"] == {"method": "torchvision resnet18", "file": "net.safetensors"}
    assert (
        json.loads((tmp_path / "model" / "config.json").read_text())["architecture"]["backbone"] == "resnet18"
    )
    # trained a little, but still the file's: its first step is a pretrained encoder's, which waits
    trained, loaded = model.net.encoder.state_dict(), saved.encoder.state_dict()
    name = "levels.5.1.conv2.weight"
    assert torch.corrcoef(torch.stack([trained[name].flatten(), loaded[name].flatten()]))[0, 1] > 0.99
    wsseg_("predict", tmp_path / "model", data / "images", "--out", tmp_path / "masks")
    assert len(list((tmp_path / "masks").glob("*.png"))) == 2


def test_seeds_take_its_first_levels(tmp_path):
    make("resnet18", tmp_path / "net.safetensors")
    encoder = load_encoder(tmp_path / "net.safetensors").encoder
    shape = first_levels(encoder.config, 4)
    assert shape.channels == (16, 64, 64)
    classifier = Classifier(Encoder(shape), 2)
    taken = take_weights(classifier.encoder, encoder.state_dict())
    assert not taken.missing
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(classifier.eval().features(images), encoder(images)[2])


def test_it_can_be_saved_as_an_encoder_folder(tmp_path):
    make("resnet18", tmp_path / "net.safetensors")
    saved = load_encoder(tmp_path / "net.safetensors")
    saved.save(tmp_path / "enc")
    again = load_encoder(tmp_path / "enc")
    assert again.encoder.config == saved.encoder.config
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert all(
            torch.equal(a, b) for a, b in zip(saved.encoder(images), again.encoder(images), strict=True)
        )


def test_what_is_no_resnet_is_refused_in_one_sentence(tmp_path):
    net = make("resnet18", tmp_path / "net.safetensors")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"no pickle is loaded.*weights_only=True"):
        load_encoder(tmp_path / "net.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged or no safetensors"):
        load_encoder(tmp_path / "broken.safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=f"holds no ResNet.*{', '.join(BLOCKS)}"):
        load_encoder(tmp_path / "other.safetensors")
    wide = dict(net.state_dict())
    wide["layer4.1.conv2.weight"] = torch.zeros(512, 512, 5, 5)
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match=r"like resnet18, but not the same.*levels\.5\.1\.conv2"):
        load_encoder(tmp_path / "wide.safetensors")


def test_files_without_counters_and_without_a_last_layer_will_do(tmp_path):
    net = make("resnet18", tmp_path / "net.safetensors")
    tensors = {
        k: v for k, v in net.state_dict().items() if "num_batches" not in k and not k.startswith("fc.")
    }
    save_file(tensors, tmp_path / "old.safetensors")
    one, other = (load_encoder(tmp_path / f"{name}.safetensors").encoder for name in ("net", "old"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_volumes_are_refused(tmp_path):
    data = make_dataset(tmp_path / "data", 3)
    make("resnet18", tmp_path / "net.safetensors")
    told = wsseg_(
        "fit",
        data,
        "--out",
        tmp_path / "model",
        "--encoder",
        tmp_path / "net.safetensors",
        "--steps",
        1,
        code=2,
    )
    assert "the encoder is for 2D images, these are 3D" in told.stderr
