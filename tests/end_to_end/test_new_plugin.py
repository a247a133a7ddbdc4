"""``audiotag plugins new``: written, installed into a fresh virtual environment, checked, and used."""

import json
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import OptionError, PluginError
from audiotag.scaffold import KINDS, ROLES, compatible_versions, write_plugin

PLUGINS = {
    "my_net": ("backbone", None),
    "my_format": ("dataset", None),
    "my_loss": ("loss", None),
    "my_sampler": ("policy", "training"),
    "my_store": ("policy", "storage"),
}
TORCH = ("backbone", "loss", "augmentation")
TOGETHER = ("published", "augmentation", "metric", "writer", "command", "recipe")
"""The kinds of one more plugin, ``my_set``, which brings several."""


class Fresh:
    """A virtual environment that sees this one's packages, so that nothing is downloaded, and has its own beside."""

    def __init__(self, folder, environment):
        self.environment = environment
        self.cwd = folder
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.bin = venv / "bin"
        (packages,) = venv.glob("lib/python*/site-packages")
        # `site` takes the paths in the .pth files of a folder that it is told of, so editable installs are seen too.
        seen = [path for path in sys.path if path.endswith("site-packages") and Path(path).is_dir()]
        seen.append(sysconfig.get_path("purelib"))
        lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(seen)]
        (packages / "this_environment.pth").write_text("\n".join(lines) + "\n")
        self.packages = packages

    def run(self, *command, code=0):
        """Run a program of the environment."""
        program, *arguments = map(str, command)
        done = subprocess.run(
            [self.bin / program, *arguments], env=self.environment, cwd=self.cwd, capture_output=True, text=True
        )
        assert done.returncode == code, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def audiotag(self, *arguments, code=0):
        return self.run("python", "-m", "audiotag", *arguments, code=code)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Every kind of plugin, written by the command and installed by pip into a fresh environment."""
    import os

    folder = tmp_path_factory.mktemp("new")
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "AUDIOTAG_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    venv = Fresh(folder, environment)
    for name, (kind, role) in {**PLUGINS, "my_set": (TOGETHER, None)}.items():
        options = [] if role is None else ["--role", role]
        for one in (kind,) if isinstance(kind, str) else kind:
            options += ["--kind", one]
        told = venv.audiotag("plugins", "new", name, *options)
        distribution = f"audiotag-{name.replace('_', '-')}"
        assert f"pip install -e {distribution}" in told
        venv.run(
            *("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"),
            *("--disable-pip-version-check", f"./{distribution}"),
        )
    return venv


@pytest.fixture(scope="module")
def tones(fresh):
    """A folder per class, two classes."""
    generator = np.random.default_rng(0)
    time = np.arange(8000) / 16_000
    for number in range(12):
        name, pitch = (("low", 200.0), ("high", 4000.0))[number % 2]
        wave = 0.5 * np.sin(2 * np.pi * pitch * time) + 0.01 * generator.standard_normal(len(time))
        (fresh.cwd / "tones" / name).mkdir(parents=True, exist_ok=True)
        soundfile.write(fresh.cwd / "tones" / name / f"{number}.wav", wave, 16_000)
    return fresh.cwd / "tones"


QUICK = ("--epochs", "1", "--batch-size", "4", "--device", "cpu", "--workers", "0")


@pytest.mark.slow
def test_new_plugins_are_installed_and_pass_their_checks(fresh):
    listed = {record["name"]: record for record in json.loads(fresh.audiotag("plugins", "list", "--json"))}
    for name in (*PLUGINS, "my_set"):
        assert listed[name]["status"] == "loaded", listed[name]
        assert listed[name]["problems"] == []
        report = json.loads(fresh.audiotag("plugins", "check", f"audiotag-{name.replace('_', '-')}", "--json"))
        assert report["ok"] and report["run"] >= 14
        assert list(fresh.packages.glob(f"audiotag_{name}-*.dist-info")), "it is not installed in the environment"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my_net", "my_store"])
def test_the_tests_of_new_plugins_pass(fresh, name):
    folder = fresh.cwd / f"audiotag-{name.replace('_', '-')}"
    told = fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder)
    assert "audiotag checks: " in told and "failed" not in told


@pytest.mark.slow
def test_a_new_backbone_learns_and_tags(fresh, tones):
    fresh.audiotag("finetune", "--backbone", "my_net", "--train", tones, *QUICK, "--output", "runs/net")
    told = fresh.audiotag("infer", "--model", "runs/net", tones / "low" / "0.wav")
    assert "low" in told and "high" in told
    assert "my_net" in fresh.audiotag("models", "list")


@pytest.mark.slow
def test_a_new_loss_and_a_new_sampler_train(fresh, tones):
    fresh.audiotag(
        *("finetune", "--backbone", "my_net", "--train", tones, *QUICK, "--output", "runs/loss"),
        *("--loss", "my_loss", "--loss-option", "smoothing=0.2", "--multi-label", "--sampler", "my_sampler"),
    )
    settings = (fresh.cwd / "runs/loss/settings.toml").read_text()
    assert 'loss = "my_loss"' in settings and 'sampler = "my_sampler"' in settings


@pytest.mark.slow
def test_a_new_format_is_read(fresh, tones):
    table = fresh.cwd / "clips.tsv"
    rows = [f"{path}\t{path.parent.name}" for path in sorted(tones.rglob("*.wav"))]
    table.write_text("\n".join(["file\tsounds", *rows]) + "\n")
    for number, options in enumerate((["--format", "my_format"], [])):  # by name, and recognised
        output = f"runs/format{number}"
        fresh.audiotag("finetune", "--backbone", "my_net", "--train", table, *options, *QUICK, "--output", output)


@pytest.mark.slow
def test_several_kinds_of_one_plugin_work(fresh, tones):
    fresh.audiotag(
        *("finetune", "--recipe", "my_set", "--backbone", "my_net", "--train", tones, "--val", tones, *QUICK),
        *("--metric", "my_set", "--output", "runs/set"),
    )
    told = fresh.audiotag("evaluate", "--model", "runs/set", "--data", tones, "--metric", "my_set", "--device", "cpu")
    assert "my_set" in told
    fresh.audiotag("infer", "--model", "runs/set", tones / "low" / "0.wav", "--output", "low.srt", "--threshold", "0")
    assert "-->" in (fresh.cwd / "low.srt").read_text()
    assert "12 clips of 2 classes" in fresh.audiotag("x", "my_set", "count", tones)


@pytest.mark.slow
def test_a_new_policy_keeps_a_store(fresh, tones):
    fresh.audiotag("store", "init", "memory", "--policy", "my_store", "--labels", "home", "--capacity", "4")
    fresh.audiotag("store", "add", "memory", *sorted((tones / "low").iterdir()), "--label", "Door")
    statistics = json.loads(fresh.audiotag("store", "stats", "memory", "--json"))
    assert statistics["policy"] == "my_store" and statistics["clips"] == 4


# What needs no installation


@pytest.mark.parametrize(
    ("kind", "role"), [(kind, role) for kind in KINDS for role in (ROLES if kind == "policy" else [None])]
)
def test_what_is_written_is_python_without_placeholders(tmp_path, kind, role):
    plugin = write_plugin("thing_2", [kind], tmp_path, role=role)
    assert plugin.folder == tmp_path / "audiotag-thing-2"
    for path in plugin.files:
        text = path.read_text()
        assert "$" not in text
        if path.suffix == ".py":
            compile(text, path, "exec")
    requirements = tomllib.loads((plugin.folder / "pyproject.toml").read_text())["project"]["dependencies"]
    extra = "[torch]" if kind in TORCH or role == "training" else ""
    assert requirements == [f"audiotag{extra}{compatible_versions(version('audiotag'))}"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2fast", "cannot be the name of a plugin"),
        ("my-net", "single underscores"),
        ("my__net", "single underscores"),
        ("net/../..", "cannot be the name"),
        ("", "cannot be the name"),
        ("class", "word of Python"),
        ("none", "word of Python"),
        ("audiotag_net", "Leave that part out"),
        ("timm", "taken by audiotag"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, name, message):
    with pytest.raises(OptionError, match=message):
        write_plugin(name, ["backbone"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    write_plugin("thing", ["loss"], tmp_path)
    with pytest.raises(PluginError, match="exists already"):
        write_plugin("thing", ["loss"], tmp_path)


def test_several_kinds_go_into_one_distribution(tmp_path):
    kinds = [kind for kind in KINDS if kind != "dataset"]
    plugin = write_plugin("thing", kinds, tmp_path, role="training")
    package = plugin.folder / "audiotag_thing"
    names = {str(path.relative_to(package)) for path in plugin.files if package in path.parents}
    modules = ["network", "published", "loss", "policy", "metric", "writer", "command", "plugin", "__init__"]
    assert {"recipes/thing.toml", *(f"{module}.py" for module in modules)} <= names
    source = (plugin.folder / "audiotag_thing" / "plugin.py").read_text()
    compile(source, "plugin.py", "exec")
    assert source.count("@hookimpl") == len(kinds)
    with pytest.raises(OptionError, match="a format and a published data set"):
        write_plugin("thing", ["dataset", "published"], tmp_path)


def test_roles_are_for_policies(tmp_path):
    with pytest.raises(OptionError, match="needs a role"):
        write_plugin("thing", ["policy"], tmp_path)
    with pytest.raises(OptionError, match="has no role"):
        write_plugin("thing", ["loss"], tmp_path, role="storage")


def test_the_command_says_what_comes_next(tmp_path):
    result = CliRunner().invoke(main, ["plugins", "new", "thing", "--kind", "loss", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert f"pip install -e {tmp_path / 'audiotag-thing'}" in result.stdout
    assert "audiotag plugins check audiotag-thing" in result.stdout
