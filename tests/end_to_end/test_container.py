"""The steps of the Dockerfile, run without an engine: each stage is a fresh environment under a folder of its own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("pip", "python", "audiotag")
SYSTEM = ("apt-get", "useradd")
"""Steps of the system's own tools are checked by their words, and not run."""


@dataclass
class Stage:
    """One ``FROM``: its parent, and its instructions in order."""

    name: str
    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def read_stages(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile by name."""
    stages: dict[str, Stage] = {}
    joined = re.sub(r"\\\n\s*", "", text)
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            parent, _, name = rest.split()
            stages[name] = Stage(name, parent)
        elif word != "#" and not word.startswith("#") and stages:
            next(reversed(stages.values())).steps.append((word, rest))
    return stages


STAGES = read_stages((ROOT / "Dockerfile").read_text())


def steps_of(name: str) -> list[tuple[str, str]]:
    """What is done for a stage, with what its parents in the file do before it."""
    stage = STAGES[name]
    return [*(steps_of(stage.parent) if stage.parent in STAGES else []), *stage.steps]


def run(command: str, root: Path, **options) -> str:
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Builder:
    """Does the steps of stages, each under a folder that stands for its root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots: dict[str, Path] = {}

    def build(self, name: str) -> Path:
        """The root of a stage whose steps were done; what it takes from others is built before."""
        if name in self.roots:
            return self.roots[name]
        root = self.folder / name
        subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AUDIOTAG"))}
        variables |= {"PATH": f"{root / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        place = root
        for word, rest in steps_of(name):
            if word == "WORKDIR":
                place = root / rest.lstrip("/")
                place.mkdir(parents=True, exist_ok=True)
            elif word == "ENV":
                variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            elif word == "COPY":
                assert rest == ". ."
                copy_context(place)
            elif word == "RUN":
                self._run(rest, root, place, variables)
        self.roots[name] = root
        return root

    def _run(self, step: str, root: Path, place: Path, variables: dict[str, str]) -> None:
        if mount := re.match(r"--mount=type=bind,from=(\w+),source=(\S+?),target=(\S+) +", step):
            (root / mount[3].lstrip("/")).symlink_to(self.build(mount[1]) / mount[2].lstrip("/"))
            step = step[mount.end() :]
        if step.split()[0] in SYSTEM:
            return
        assert step.split()[0] in OURS
        run(re.sub(r"(?<![\w.])/(?=(?:build|wheels)/)", f"{root}/", step), root, cwd=place, env=variables)


def copy_context(target: Path) -> None:
    """What the engine is sent, as .dockerignore says: nothing but what is named."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    ignored = shutil.ignore_patterns(*(line.rsplit("/", 1)[-1] for line in lines[1:] if not line.startswith("!")))
    for name in (line[1:] for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, target / name)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("images"))


def test_every_instruction_is_one_that_is_tested() -> None:
    words = {word for stage in STAGES.values() for word, _ in stage.steps}
    assert words == {"ARG", "COPY", "ENTRYPOINT", "ENV", "RUN", "USER", "VOLUME", "WORKDIR"}
    assert list(STAGES) == ["wheels", "base", "whole", "light"]  # the last is what is built where none is named
    for name in ("whole", "light"):
        assert steps_of(name)[-2:] == [("USER", "audiotag"), ("ENTRYPOINT", '["audiotag"]')]
        (installed,) = (rest for word, rest in STAGES[name].steps if word == "RUN")
        assert "--only-binary :all:" in installed


def test_the_extras_exist() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in ("whole", "light"):
        (installed,) = (rest for word, rest in STAGES[name].steps if word == "RUN")
        (extras,) = re.findall(r'audiotag-\*\.whl\)\[([a-z,]+)\]"', installed)
        assert set(extras.split(",")) <= set(known)


@pytest.mark.slow
def test_the_light_image_tags_and_has_no_torch(builder, audiotag, sounds, tmp_path) -> None:
    """Its steps are done with pip, and what they install tags with a model that this environment exported."""
    small = ("--backbone", "mn", "--option", "width_mult=0.1", "--workers", 0, "--epochs", 1, "--batch-size", 8)
    audiotag("finetune", *small, "--train", sounds, "--output", tmp_path / "run")
    audiotag("export", tmp_path / "run", "--output", tmp_path / "exported")
    root = builder.build("light")
    environment = {"PATH": f"{root / 'venv' / 'bin'}:{os.environ['PATH']}", "AUDIOTAG_CACHE": str(tmp_path / "cache")}
    recording = sounds.parent / "audio" / "0.wav"
    told = run(f"audiotag infer {recording} --model {tmp_path / 'exported'} --format json", root, env=environment)
    assert '"low"' in told and '"high"' in told
    names = json.loads(run("pip list --format json", root, env=environment))
    installed = {entry["name"] for entry in names}
    assert {"audiotag", "onnxruntime", "paho-mqtt", "sounddevice", "pyarrow", "av", "usearch"} <= installed
    assert "torch" not in installed and not any(name.startswith("audiotag-") for name in installed)


@pytest.mark.slow
def test_the_whole_image_finds_every_plugin_among_its_wheels(builder, tmp_path) -> None:
    """Without the gigabytes of torch: pip says what it would install, and all of ours is from the wheels made here."""
    wheels = builder.build("wheels") / "build" / "wheels"
    (step,) = (rest for word, rest in STAGES["whole"].steps if word == "RUN")
    install = step[step.index("pip install") :].replace("/wheels/", f"{wheels}/")
    report = tmp_path / "report.json"
    dry = install.replace(
        "pip install", f"{sys.executable} -m pip install --dry-run --ignore-installed --report {report}"
    )
    run(dry, tmp_path)
    chosen = {one["metadata"]["name"]: one["download_info"]["url"] for one in json.loads(report.read_text())["install"]}
    plugins = [tomllib.loads(path.read_text())["project"]["name"] for path in ROOT.glob("plugins/*/pyproject.toml")]
    assert "torch" in chosen and all(chosen[name].endswith(".whl") for name in chosen)
    for name in ("audiotag", *plugins):
        assert chosen[name].startswith(wheels.as_uri()), name


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_are_wheels_for_both_machines(machine, tmp_path) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*known["dependencies"]]
    for extra in ("live", "parquet", "search", "video"):
        needed += known["optional-dependencies"][extra]
    platforms = [f"--platform={kind}_{machine}" for kind in ("manylinux_2_28", "manylinux2014")]
    (version,) = re.findall(r"(?m)^ARG PYTHON=(.+)$", (ROOT / "Dockerfile").read_text())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--only-binary=:all:", *platforms]
    run(shlex.join([*command, f"--python-version={version}", f"--target={tmp_path}", *needed]), tmp_path)
