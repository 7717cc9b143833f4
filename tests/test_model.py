"""A model folder gives back the same model; damaged ones are told in a sentence."""

import json

import pytest
import torch
from test_unet import SMALL

from wsseg.errors import InputError
from wsseg.model import Model, ModelConfig, build, load_model, outputs_of
from wsseg.normalise import Normalisation


def small_model(dims: int, classes=None) -> Model:
    config = ModelConfig(
        architecture=SMALL[dims],
        classes=classes or {1: "cell", 7: "wall"},
        normalisation=Normalisation(1.0, 99.0),
        spacing=(1.5,) * dims,
        patch=(8,) * dims,
        flip_axes=(0,),
        quality={"dice": {"1": 0.5}},
    )
    torch.manual_seed(0)
    return Model(config, build(config).eval())


@pytest.mark.parametrize("dims", [2, 3])
def test_save_and_load_is_the_same_model(tmp_path, dims):
    model = small_model(dims)
    model.save(tmp_path / "model", extra={"history.json": "{}"})
    again = load_model(tmp_path / "model")
    assert again.config == model.config
    image = torch.randn(1, SMALL[dims].channels_in, *[8] * dims)
    with torch.no_grad():
        assert torch.equal(again.net(image), model.net(image))
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json",
        "history.json",
        "weights.safetensors",
    ]
    assert json.loads((tmp_path / "model/config.json").read_text())["classes"] == {"1": "cell", "7": "wall"}


def test_saving_again_replaces_the_whole_folder(tmp_path):
    small_model(2).save(tmp_path / "model", extra={"history.json": "{}"})
    small_model(3).save(tmp_path / "model")
    assert load_model(tmp_path / "model").config.architecture.dims == 3
    assert not (tmp_path / "model/history.json").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", "{", "no config.json of a wsseg model"),
        ("config.json", "[]", "no config.json of a wsseg model"),
        ("config.json", '{"format": 9, "kind": "model"}', "format 9"),
        ("config.json", '{"format": 1, "kind": "model"}', "lacks or misspells"),
        ("weights.safetensors", "garbage", "damaged"),
        ("weights.safetensors", "", "damaged"),
    ],
)
def test_damaged_folders(tmp_path, file, content, says):
    small_model(2).save(tmp_path / "model")
    (tmp_path / "model" / file).write_text(content)
    with pytest.raises(InputError, match=says):
        load_model(tmp_path / "model")


def test_missing_and_mismatched(tmp_path):
    with pytest.raises(InputError, match="no model folder"):
        load_model(tmp_path)
    small_model(2).save(tmp_path / "a")
    small_model(2, {1: "only"}).save(tmp_path / "b")
    (tmp_path / "a/weights.safetensors").replace(tmp_path / "b/weights.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        load_model(tmp_path / "b")


def test_class_ids_and_outputs_are_each_others_inverse():
    config = small_model(2).config
    assert config.class_ids == (0, 1, 7)
    assert outputs_of(torch.tensor([[7, 0], [1, 7]]), config.class_ids).tolist() == [[2, 0], [1, 2]]
