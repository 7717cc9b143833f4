"""What a person would be told too late is told early; what is printed can be pasted; files are the user's."""

import shutil
import subprocess
import sys

import pytest
from tiny import small_plans, wsseg_


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_plans(monkeypatch)


@pytest.fixture
def model(tmp_path, data):
    wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2, "--device", "cpu")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("refine", "nope", "--out", "out"), "nope"),
        (("seeds", "nope", "--out", "out", "--size", "abc"), "--size abc"),
        (("pretrain", "nope", "--out", "out", "--method", "mae"), "nope: there is no such file"),
    ],
)
def test_what_needs_no_torch_is_told_before_it_is_loaded(words, told, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"  # an import fails
        f"from wsseg.cli import main; sys.argv = {['wsseg', *words]!r}; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert "torch" not in done.stderr


def test_a_model_that_can_not_be_written_is_told_before_the_training(tmp_path, data):
    (tmp_path / "plain").write_text("a file")
    told = wsseg_("fit", data, "--out", tmp_path / "plain" / "model", "--steps", "1", code=2).stderr
    assert "can't be written (Not a directory)" in told
    told = wsseg_("fit", data, "--out", data / "images" / "model", "--steps", "1", code=2).stderr
    assert "lies in" in told
    assert not (data / "images" / "model").exists()


def test_what_is_to_be_pasted_has_quotes_where_it_needs_them(tmp_path, model):
    named = tmp_path / "my model"
    shutil.copytree(model, named)
    shown = wsseg_("fit", tmp_path / "data", "--out", named, "--steps", 2, "--overwrite").stdout
    assert f"wsseg predict '{named}' IMAGES --out MASKS uses it" in " ".join(shown.split())


def test_weights_may_be_read_by_whom_the_user_lets(model):
    modes = {path.name: path.stat().st_mode & 0o777 for path in model.iterdir()}
    assert modes["weights.safetensors"] == modes["config.json"]
