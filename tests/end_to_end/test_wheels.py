"""Source distributions and wheels of the core and every plugin, the wheels installed together into a fresh environment.

They are built here, or are those in the folder ``AUDIOTAG_DIST``, as `make release-check` has built them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from snippets import SHELL, blocks, lines

from audiotag.cli.main import VERBS
from audiotag.data.synthesis import demo_labels, mix_clip
from audiotag.seeding import numpy_generator

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))

LOCATIONS = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
"""

FETCHED = """
from pathlib import Path
from audiotag.plugin import BackboneSpec, SamplingPolicySpec, Weights, hookimpl

@hookimpl
def register_backbones():
    weights = Weights(urls=(Path("published.pt").resolve().as_uri(),), filename="net.pt", licence="MIT")
    return [BackboneSpec(name="net", family="net", factory="no:net", sample_rate=8000, clip_seconds=1.0,
                         min_seconds=0.1, weights=weights, licence="MIT")]

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="night", role="storage", factory="audiotag_owls.policy:Owls")]
"""

LIGHT = """
import sys
from importlib.util import find_spec
from pathlib import Path
import numpy as np
import soundfile
import audiotag
from audiotag.audio import efficientat_log_mel, log_mel_features, read_audio
from audiotag.audio.windows import iterate_windows
from audiotag.data import read_clips
from audiotag.errors import EXTRAS, MissingExtraError
from audiotag.inference.decoding import Decoding
from audiotag.inference.events import detect_events, named_events
from audiotag.inference.tags import WindowScores
from audiotag.inference.writers import Result, open_output

assert not [package for package in EXTRAS if find_spec(package)]
generator = np.random.default_rng(0)
for name in ("Dog", "Rain"):
    Path("sounds", name).mkdir(parents=True)
    for number in range(4):
        soundfile.write(f"sounds/{name}/{number}.wav", 0.1 * generator.standard_normal(16_000), 16_000)
clips = read_clips("sounds", labels="audioset")
ids, mids = [clip.id for clip in clips], [label.mid for label in clips.labels]
np.savez("scores.npz", scores=generator.random((len(ids), len(mids)), dtype=np.float32), ids=ids, mids=mids)

sound = read_audio(clips[0].path, 32_000)
assert log_mel_features(efficientat_log_mel(), sound).shape == (128, 100)
windows = [
    WindowScores(window.start / 32_000, (window.start + len(window.samples)) / 32_000, 4 * np.abs(window.samples[:2]))
    for window in iterate_windows([sound], 8000, 8000)
]
labels = audiotag.LabelSet.from_names(["low", "high"], source="test")
events = detect_events(windows, Decoding.of(np.zeros(2)), hop=0.25)
assert [(event.onset, event.offset) for event in events] == [(0.0, 1.0), (0.0, 1.0)]
for name in ("csv", "audacity", "jsonl"):
    with open_output(name, Path(f"events.{name}")) as output:
        output.write(Result(clips[0], 1.0, tuple(named_events(events, labels))))
    assert "low" in Path(f"events.{name}").read_text()
for lacking in (lambda: audiotag.load("net"), lambda: audiotag.finetune):
    try:
        lacking()
    except MissingExtraError as error:
        print(error)
"""

FRESH = """
import sys
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

labels = LabelSet.from_names(["kettle", "doorbell"], source="test")
options = {"width_mult": 0.1}
spec = get_host().backbone("mn")
save_checkpoint(sys.argv[1], Model(create_backbone("mn", 2, seed=0, **options), spec, options, labels, "fresh"))
"""


EXPORTED = """
from pathlib import Path
from audiotag.export.export import export_model
from audiotag.host import get_host
from audiotag.labels import read_labels
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

Path("pets.csv").write_text("index,mid,display_name\\n0,dog,Dog\\n1,rain,Rain\\n")
options = {"width_mult": 0.1}
backbone = create_backbone("mn", 2, seed=0, **options).eval()
spec = get_host().backbone("mn")
export_model(Model(backbone, spec, options, read_labels("pets.csv"), "network", single_label=True), "network")
"""


def _packages(project):
    """Folders of the import packages that *project* says it has."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {path for pattern in settings["packages"]["find"]["include"] for path in project.glob(pattern)}
    return sorted(path for path in found if (path / "__init__.py").is_file())


MODULES = [package.name for project in (ROOT, *PLUGINS) for package in _packages(project)]


def _distribution(project):
    return tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]


def _run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _sources(project):
    """The files of *project* that are its own: neither what git ignores, nor those of plugins within it."""
    listed = _run(["git", "ls-files", "-co", "--exclude-standard"], cwd=project).splitlines()
    return [name for name in listed if not name.startswith("plugins/") and (project / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the source distributions and, built from them, the wheels."""
    if folder := os.environ.get("AUDIOTAG_DIST"):
        return Path(folder)
    folder = tmp_path_factory.mktemp("dist")
    script = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    for project in (ROOT, *PLUGINS):
        copy = tmp_path_factory.mktemp("source")
        for name in _sources(project):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, copy / name)
        archive = _run([sys.executable, "-c", script, folder], cwd=copy).split()[-1]
        _run([*pip, "--wheel-dir", folder, folder / archive])
    return folder


@pytest.fixture(scope="module")
def wheels(built):
    return sorted(built.glob("*.whl"))


@pytest.fixture(scope="module")
def fresh(wheels, tmp_path_factory):
    """The ``bin`` of an environment that has the wheels; their dependencies are those of the running one."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    _run([sys.executable, "-m", "venv", "--without-pip", folder])
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    install = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet")
    _run([*install, "--no-deps", "--no-index", *wheels])
    # Folders on the path are no site folders: the editable installs in them, which are .pth files, stay unseen.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(others) + "\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def light(wheels, tmp_path_factory):
    """The ``bin`` of an environment with what ``pip install audiotag`` brings, and a plugin without what it needs."""
    folder = tmp_path_factory.mktemp("light") / "venv"
    _run([sys.executable, "-m", "venv", "--without-pip", folder])
    install = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet")
    (core,) = (wheel for wheel in wheels if wheel.name.startswith("audiotag-"))
    (plugin,) = (wheel for wheel in wheels if wheel.name.startswith("audiotag_mobilenet_baseline-"))
    _run([*install, core])
    _run([*install, "--no-deps", plugin])
    return folder / "bin"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The ``bin`` of an environment without audiotag, in which pip finds what audiotag needs already installed."""
    folder = tmp_path_factory.mktemp("empty")
    _run([sys.executable, "-m", "venv", folder / "venv"])
    # Until Python 3.12 a fresh environment has a setuptools, which would be older than torch wants.
    _run([folder / "venv" / "bin" / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"])
    needed = folder / "needed"
    needed.mkdir()
    for place in (Path(path) for path in sys.path if Path(path).name == "site-packages"):
        for entry in place.iterdir():
            ours = entry.name.startswith(("audiotag", "__editable__")) or entry.suffix == ".pth"
            if not ours and not (needed / entry.name).exists():
                (needed / entry.name).symlink_to(entry)
    scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    (packages / "needed.pth").write_text(f"{needed}\n")
    return folder / "venv" / "bin"


@pytest.fixture
def environment(tmp_path):
    """No variable that could lead back to the checkout, an empty cache, strict plugins."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AUDIOTAG"))}
    extra = {"AUDIOTAG_CACHE": str(tmp_path / "cache"), "AUDIOTAG_STRICT_PLUGINS": "1", "OMP_NUM_THREADS": "1"}
    return {**kept, **extra}


@pytest.mark.slow
def test_every_file_of_the_packages_is_in_its_wheel(wheels):
    assert len(wheels) == 1 + len(PLUGINS)
    packed = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            for name in opened.namelist():
                if ".dist-info/" not in name:
                    assert name not in packed, f"{name} is in {wheel.name} and in {packed[name]}"
                    packed[name] = wheel.name
    expected = {
        file.relative_to(package.parent).as_posix()
        for project in (ROOT, *PLUGINS)
        for package in _packages(project)
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {
        "audiotag/py.typed",
        "audiotag/__init__.pyi",
        "audiotag/class_lists/audioset.csv",
        "audiotag/templates/pages/page.html",
    } < expected
    assert any(name.endswith(".toml") for name in expected)
    assert set(packed) == expected


@pytest.mark.slow
def test_the_licence_is_in_every_wheel(wheels):
    text = (ROOT / "LICENSE").read_bytes()
    assert b"The audiotag authors" in text
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
            assert opened.read(name) == text


@pytest.mark.slow
def test_a_source_distribution_has_packages_tests_and_licence_and_nothing_else(built):
    assert len([*built.glob("*.tar.gz")]) == 1 + len(PLUGINS)
    for project in (ROOT, *PLUGINS):
        (archive,) = built.glob(f"{_distribution(project).replace('-', '_')}-[0-9]*.tar.gz")
        with tarfile.open(archive) as opened:
            packed = {member.name.partition("/")[2] for member in opened.getmembers() if member.isfile()}
            licence = opened.extractfile(f"{archive.name.removesuffix('.tar.gz')}/LICENSE").read()
        assert licence == (ROOT / "LICENSE").read_bytes()
        packed = {name for name in packed if ".egg-info/" not in name and name not in ("PKG-INFO", "setup.cfg")}
        assert packed == {name for name in _sources(project) if not name.startswith(".")}


@pytest.mark.slow
def test_the_wheels_work_together_in_a_fresh_environment(fresh, wheels, environment, tmp_path):
    def run(*command):
        return _run(command, env=environment, cwd=tmp_path)

    locations = json.loads(run(fresh / "python", "-c", LOCATIONS, *MODULES))
    for name, file in locations.items():
        assert Path(file).is_relative_to(fresh.parent), f"{name} is the one of {file}"
    listed = json.loads(run(fresh / "audiotag", "plugins", "list", "--json"))
    assert len(listed) == 1 + len(PLUGINS)
    assert {plugin["distribution"] for plugin in listed} == {_distribution(project) for project in (ROOT, *PLUGINS)}
    assert {plugin["status"] for plugin in listed} == {"loaded"}
    names = {model["name"] for model in json.loads(run(fresh / "audiotag", "models", "list", "--json"))}
    here = _run([Path(sys.executable).parent / "audiotag", "models", "list", "--json"], env=environment)
    assert names == {model["name"] for model in json.loads(here)}
    run(fresh / "python", "-c", FRESH, "model")
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 32_000)
    soundfile.write(tmp_path / "clip.wav", wave, 32_000)
    tags = run(
        fresh / "audiotag", "infer", "clip.wav", "--model", "model", "--format", "csv", "--device", "cpu", "--top", "2"
    )
    assert "kettle" in tags
    assert "doorbell" in tags
    assert "equiav" in run(fresh / "audiotag", "recipes", "list")
    assert "Rooster" in run(fresh / "audiotag", "infer", "clip.wav", "--model", "home10")  # its weights are in a wheel


NEEDS_TORCH = [
    "infer sounds --model home10",
    "finetune --backbone mn04_as --train sounds --output run",
    "evaluate --model home10 --data sounds",
    "compare --backbone mn04_as --train sounds --output compared",
    "online --model home10 --store memory --stream sounds --output learned",
    "labels extend home10 --labels home --output extended",
    "labels enhance --data sounds --labels audioset --model home10 --output more.json",
    "models complexity home10",
    "plugins check audiotag-mobilenet-baseline",
    "demo --output demo",
]

WORKS_LIGHT = {
    "plugins list": "audiotag-mobilenet-baseline",
    "plugins new owls --kind policy --role storage --output .": "audiotag-owls",
    "models list": "home10",
    "models info mn04_as": "sample rate: 32000",
    "models download net home10": "net.pt",
    "models verify net": "ok",
    "recipes list": "efficientat-esc50",
    "recipes show efficientat-esc50": "epochs = ",
    "data list": "vggsound",
    "data tiny esc50 tiny": "sounds in tiny",
    "data validate tiny": "20 recordings, 0 missing",
    "data stats tiny": "4 classes",
    "data prepare esc50 tiny --output prepared": "prepared in prepared",
    "data weights sounds --labels audioset --output weights.csv": "8 weights",
    "labels check --data sounds --labels audioset": "type 2: 8 clips",
    "labels enhance --data sounds --labels audioset --scores scores.npz --output enhanced.json": "of 8 clips",
    "store simulate --preset published --output simulated": "class_balanced",
    "store init memory --labels audioset --capacity 5": "at most 5 clips",
    "store add memory sounds": "8 clips offered",
    "store stats memory": "5 clips",
    "store list memory": "Rain",
    "store export memory exported": "5 clips written",
    "store verify memory": "everything agrees",
    "store init again --from exported": "5 clips",
    "store init owls --policy night --labels audioset --capacity 2": "policy night",
    "store add owls sounds": "2 in the store",
    "labels check --data exported/manifest.json": "5 clips",
    "infer sounds/Dog/0.wav --model network": "Dog",
    "evaluate --model network --data sounds --output measured": "measured/report.html",
    "store init heard --labels pets.csv --capacity 5": "at most 5 clips",
    "online --model network --store heard --stream sounds --output taught": "loss",
    "evaluate --model taught --data sounds": "Accuracy",
}
"""Command → part of what it prints; in turn, each in a folder with what those before it and `LIGHT` have left."""


@pytest.mark.slow
def test_the_core_alone_works_without_any_extra(light, environment, install_plugin, plugin_folder, tmp_path):
    def run(*command, fails=False):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=600, env=environment, cwd=tmp_path
        )
        assert done.returncode == int(fails), f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    environment["PYTHONPATH"] = os.pathsep.join([str(plugin_folder), str(tmp_path / "audiotag-owls")])
    (tmp_path / "published.pt").write_bytes(bytes(100))
    _run([sys.executable, "-c", EXPORTED], cwd=tmp_path)
    install_plugin("audiotag-fetched", FETCHED)
    told = run(light / "python", "-W", "error", "-c", LIGHT).splitlines()
    install = "which is not installed. Install it with: pip install 'audiotag[torch]'"
    assert [line.partition(" needs")[0] for line in told] == ["the model 'net'", "audiotag.finetune"]
    assert all(line.endswith(install) for line in told)
    for command, printed in WORKS_LIGHT.items():
        assert printed in run(light / "audiotag", *command.split()), command
    for verb in VERBS:
        assert run(light / "audiotag", verb, "--help").startswith(f"Usage: audiotag {verb}")
    for command in NEEDS_TORCH:
        told = run(light / "audiotag", *command.split(), fails=True)
        words = " ".join(command.split()[: 2 if command.split()[0] in ("labels", "models", "plugins") else 1])
        assert re.match(rf"Error: (audiotag {words}|the model '\w+') needs the package '", told), told
        assert told.endswith(f"{install}\n")
    assert "audiotag[plots]" in run(
        light / "audiotag", "store", "simulate", "--output", "drawn", "--figures", "svg", fails=True
    )


def _recordings(folder):
    """What a person has who follows docs/getting_started.md: a recording, and two folders with a folder per class."""
    mids = demo_labels().mids
    made = {"clip.wav": mids[0]}
    for source, count in (("sounds", 8), ("test", 4)):
        for name, mid in (("Doorbell", mids[0]), ("Kettle", mids[2]), ("Vacuum", mids[5])):
            made |= {f"{source}/{name}/{number}.wav": mid for number in range(count)}
    for name, mid in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, mix_clip([mid], 32_000, 2.0, 1, numpy_generator(0, name))[:, 0], 32_000)


@pytest.mark.slow
def test_the_page_to_get_started_with_does_what_it_says_with_so_many_commands(
    empty, wheels, environment, assets, tmp_path, capsys
):
    text = (ROOT / "docs" / "getting_started.md").read_text(encoding="utf-8")
    commands = [line for block in blocks(text) if block.language in SHELL for line in lines(block.code)]
    (stated,) = re.findall(r"^(\w+) commands", text, re.MULTILINE)
    assert stated == ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven")[len(commands)]
    assert len(text.split("\n")) < 50, "the page is one screen"
    work, weights = tmp_path / "work", tmp_path / "cache" / "weights"
    weights.mkdir(parents=True)
    shutil.copy(assets / "assets" / "weights" / "mn04_as_mAP_432.pt", weights)
    _recordings(work)
    environment |= {"PATH": f"{empty}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels[0].parent)}
    took, printed = [], []
    for command in commands:
        start = time.perf_counter()
        printed.append(_run(["bash", "-c", command], env=environment, cwd=work))
        took.append(time.perf_counter() - start)
    with capsys.disabled():
        print()
        for command, seconds in zip(commands, took, strict=True):
            print(f"{seconds:6.1f} s  {command}")
        print(f"{sum(took):6.1f} s  {len(commands)} commands, with PyTorch and the weights already there")
    assert "audiotag-psla" in printed[0] and "clip.wav" in printed[1]
    measured = json.loads((work / "report" / "metrics.json").read_text())
    assert measured["summary"]["accuracy"] == 1.0
    report = (work / "report" / "report.html").read_text(encoding="utf-8")
    assert all(name in report for name in ("Doorbell", "Kettle", "Vacuum"))
