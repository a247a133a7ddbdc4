"""Wheels of the core and of every plugin, built and installed together into a fresh environment."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))

LOCATIONS = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
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


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Wheels built from clean copies of the sources, so that leftovers of earlier builds get into none."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    for project in (ROOT, *PLUGINS):
        copy = tmp_path_factory.mktemp("source")
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(project / name, copy)
        for package in _packages(project):
            shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        _run([*pip, "--wheel-dir", folder / "dist", copy])
    return sorted((folder / "dist").glob("*.whl"))


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
def test_the_licence_is_in_every_wheel_and_source_distribution(wheels, tmp_path):
    text = (ROOT / "LICENSE").read_bytes()
    assert b"The audiotag authors" in text
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
            assert opened.read(name) == text
    for number, project in enumerate((ROOT, *PLUGINS)):
        copy = tmp_path / str(number)
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(project / name, copy)
        script = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
        _run([sys.executable, "-c", script, copy / "dist"], cwd=copy)
        (archive,) = (copy / "dist").glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            (name,) = (name for name in opened.getnames() if name.count("/") == 1 and name.endswith("/LICENSE"))
            assert opened.extractfile(name).read() == text


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
