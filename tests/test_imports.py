"""`import wsseg` starts fast: whatever is slow is imported where it is used. Seen in a fresh Python."""

import json
import subprocess
import sys

HEAVY = {
    "torch",
    "monai",
    "matplotlib",
    "napari",
    "napari_plugin",
    "qtpy",
    "magicgui",
    "skimage",
    "zarr",
    "pretrain",
}


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    code = (
        f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_of_the_package_loads_nothing_heavy():
    assert loaded_after("import wsseg") & HEAVY == set()


def test_the_command_line_answers_before_anything_heavy_is_loaded():
    assert (
        loaded_after(
            "from typer.testing import CliRunner\nfrom wsseg.cli import app\n"
            "CliRunner().invoke(app, ['fit', '--help'])"
        )
        & HEAVY
        == set()
    )


def test_the_probe_sees_what_is_loaded():
    assert "wave" in loaded_after("import wave")
    assert "wave" not in loaded_after("import wsseg")
