"""The examples of README and docs/ run as they stand, with small networks and few steps.

Fenced blocks of `sh` and `python` are run, page by page from the top, in a folder where `wsseg demo` was run.
`<!-- not run: why -->` on the line before a block leaves it out.
"""

import re
import runpy
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from test_cli import COMMANDS
from tiny import small_plans
from typer.main import get_command
from typer.testing import CliRunner

import pretrain.plan
import wsseg.budget
import wsseg.demo
import wsseg.fit
from wsseg.cli import app
from wsseg.unet import plan_encoder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```(sh|python)\n(.*?)^```$", re.M | re.S)


def run_line(line: str) -> None:
    """Run one line of shell, which must be a wsseg command."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] == "python" and len(words) == 2:
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")
        return
    assert words[0] == "wsseg", f"“{line}” is no wsseg command; put <!-- not run: why --> before its block"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, (line, result.output, result.exception)


@pytest.fixture
def small(monkeypatch):
    small_plans(monkeypatch)
    monkeypatch.setattr(wsseg.fit, "default_steps", lambda samples: 2)
    monkeypatch.setattr(wsseg.budget, "steps_for", lambda labelled: 2)
    monkeypatch.setattr(pretrain.plan, "plan_encoder", partial(plan_encoder, channels=(4, 8)))
    monkeypatch.setattr(pretrain.plan, "default_steps", lambda *_: 2)
    monkeypatch.setattr(wsseg.budget, "TAG_STEPS", 30)  # enough to tell a coin from an empty table
    monkeypatch.setattr(wsseg.demo, "STEPS", 2)
    monkeypatch.setattr(wsseg.demo, "RESOLUTION", 8)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder that `wsseg demo` leaves."""
    pytest.importorskip("nilearn", reason="the demo's scan comes with nilearn (extra “demo”)")
    out = tmp_path_factory.mktemp("demo") / "wsseg-demo"
    with pytest.MonkeyPatch.context() as patch:
        small_plans(patch)
        patch.setattr(wsseg.demo, "RESOLUTION", 8)
        result = CliRunner().invoke(app, ["demo", "--out", str(out), "--steps", "2"])
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("small")
def test_examples_of_a_page_run(page, demo, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    if "\nwsseg demo" not in text:
        shutil.copytree(demo, tmp_path / "wsseg-demo")
    monkeypatch.chdir(tmp_path)
    for skipped, language, code in BLOCK.findall(text):
        if skipped:
            continue
        if language == "python":
            exec(compile(code, f"{page.name}", "exec"), {"__name__": "__example__"})
        else:
            for line in code.replace("\\\n", " ").splitlines():
                run_line(line)


def test_a_wrong_example_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        run_line("wsseg check nowhere")
    with pytest.raises(AssertionError, match="not run"):
        run_line("ls")


def test_commands_md_has_each_command_with_each_of_its_options():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}
    assert sorted(sections) == sorted(COMMANDS)
    for name, command in get_command(app).commands.items():
        options = {option for p in command.params for option in p.opts if option.startswith("--")}
        told = set(re.findall(r"`(--[a-z-]+)", sections[name]))
        assert told - {"--help"} == options - {"--help"}, name
        assert f"```sh\nwsseg {name}" in sections[name]


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
@pytest.mark.usefixtures("small")
def test_example_scripts_run(script, demo, tmp_path, monkeypatch, capsys):
    shutil.copytree(demo, tmp_path / "wsseg-demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script.name])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_each_picture_is_there_and_shown():
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"!\[[^\]]+\]\(([^)]+\.png)\)", page.read_text(encoding="utf-8"))
    }
    assert len(shown) >= 12
    assert shown == set((ROOT / "docs" / "images").glob("*.png"))
