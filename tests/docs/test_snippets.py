"""The code blocks of the documentation run as they stand there, page by page and in order.

Shell blocks are run line by line. A line that is one `audiotag` command is called in this process; any other goes to
bash. Some are made smaller or safer by a rule:

- Unless they say otherwise, ``audiotag finetune``, ``compare`` and ``demo`` get ``--epochs 2``, the first two
  ``--workers 0`` too, ``demo`` gets ``--clips 64`` and ``online benchmark`` ``--seeds 1``.
- ``pip install -e FOLDER``, for a FOLDER that the page has made, installs it for this page alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from snippets import ROOT, SHELL, Block, blocks, is_plain, is_slow, lines, page_name, pages, words

from audiotag.cli.main import main
from audiotag.host import reset_host

RUN = ("python", *SHELL)


def parameters() -> list[Any]:
    found = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if any(block.language in RUN for block in blocks(text)):
            marks = [pytest.mark.slow] if is_slow(text) else []
            found.append(pytest.param(page, id=page_name(page), marks=marks))
    return found


class Runner:
    """Runs the blocks of one page in a folder of its own."""

    def __init__(self, prepared: Path, model: Path, space: Path, names: dict[str, Any]) -> None:
        self.prepared, self.model, self.space, self.names = prepared, model, space, names
        self.folders = 0
        self.fresh_folder()

    def fresh_folder(self) -> None:
        self.folders += 1
        folder = self.space / f"page {self.folders}"
        shutil.copytree(self.prepared, folder)
        os.chdir(folder)

    def run(self, block: Block) -> None:
        if "fresh folder" in block.directives:
            self.fresh_folder()
        if given := block.directives.get("given"):
            kind, folder = given.split()
            assert kind == "model", given
            shutil.copytree(self.model, folder)
        if place := block.directives.get("file"):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            Path(place).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.code, f"line {block.line}", "exec", dont_inherit=True), self.names)
        elif block.language in SHELL:
            for line in lines(block.code):
                self.run_line(line)

    def run_line(self, line: str) -> None:
        cut = words(line)
        assert cut[0] not in ("cd", "export"), "each line is run by itself"
        if cut[0] == "audiotag" and is_plain(cut):
            assert not main.main(self.smaller(cut[1:]), prog_name="audiotag", standalone_mode=False), line
        elif cut[:3] == ["pip", "install", "-e"] and Path(cut[3]).is_dir():
            self.install(Path(cut[3]))
        else:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line],
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            print(done.stdout)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def smaller(self, arguments: list[str]) -> list[str]:
        extra: list[str] = []
        steps = not {"--epochs", "--resume", "analytic"} & set(arguments)
        if arguments[0] in ("finetune", "compare", "demo") and steps:
            extra += ["--epochs", "2"]
        if arguments[0] in ("finetune", "compare") and "--workers" not in arguments:
            extra += ["--workers", "0"]
        if arguments[0] == "demo" and "--clips" not in arguments:
            extra += ["--clips", "64"]
        if arguments[:2] == ["online", "benchmark"] and "--seeds" not in arguments:
            extra += ["--seeds", "1"]
        return [*arguments, *extra]

    def install(self, folder: Path) -> None:
        target = self.space / "site-packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        done = subprocess.run([*pip, "--target", target, folder.resolve()], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        sys.path.insert(0, str(target))
        reset_host()


@pytest.fixture
def runner(
    prepared: Path, small_model: Path, tmp_path: Path, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runner]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield Runner(prepared, small_model, tmp_path, names)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    reset_host()


@pytest.mark.parametrize("page", parameters())
def test_the_blocks_of_a_page_run(
    page: Path, runner: Runner, weights: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if "not run" in block.directives:
            left_out.append(f"{page_name(page)}, line {block.line}: not run: {block.directives['not run']}")
            continue
        if block.language in RUN:
            weights(block.code)
        try:
            runner.run(block)
        except BaseException as error:
            error.add_note(f"In {page_name(page)}, the block at line {block.line}:\n{block.code}")
            raise
    with capsys.disabled():
        for line in left_out:
            print(f"\n{line}", end="")


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_data_in_a_page_is_well_formed(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "json":
            json.loads(block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)


def test_a_block_that_is_not_run_says_why() -> None:
    for page in pages():
        for block in blocks(page.read_text(encoding="utf-8")):
            if "not run" in block.directives:
                assert len(block.directives["not run"].split()) >= 2, f"{page_name(page)}, line {block.line}"


def test_the_blocks_are_there() -> None:
    found = [block for page in pages() for block in blocks((ROOT / page).read_text(encoding="utf-8"))]
    assert sum(block.language in RUN for block in found) > 30
