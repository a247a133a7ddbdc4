"""The examples that tag with an exported folder do it as audiotag does, in Python and in JavaScript."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiotag
from audiotag.continual.exported_pupil import ExportedPupil, change_exported_classes
from audiotag.continual.online_settings import OnlineSettings
from audiotag.engines.exported import read_exported
from audiotag.export.export import export_model
from audiotag.labels import LabelSet
from audiotag.training.settings import Situation

EXAMPLES = Path(__file__).parents[2] / "examples"
BARE = """
import runpy
sys.modules.update(dict.fromkeys(["audiotag", "safetensors", "soundfile"]))
sys.argv = ["tag_exported.py", *sys.argv[2:]]
runpy.run_path(EXAMPLE, run_name="__main__")
"""


@pytest.fixture(params=["home10", "small", "learned"])
def exported(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    """A folder with a clip beside it; frames of home10 are centred, those of the others are not."""
    if request.param == "home10":
        folder = tmp_path / "home10"
        export_model("home10", folder)
    if request.param == "learned":
        labels = LabelSet.from_names(["rain", "bell"], source="test")
        changed, _ = change_exported_classes(read_exported(folder), labels)
        settings = OnlineSettings().resolve(Situation(single_label=False, pretrained=True))
        folder = tmp_path / "learned"
        ExportedPupil(changed, settings, "cpu", embeds=False).save(folder, "learned", {}, {})
    rate = read_exported(folder).lengths.sample_rate
    sound = np.random.default_rng(5).uniform(-0.3, 0.3, int(2.5 * rate))
    soundfile.write(tmp_path / "clip.wav", sound, rate)
    return folder


def tags_of(folder: Path, clip: Path) -> list[str]:
    return [f"{score:.3f} {label}" for label, score in audiotag.load(folder).tag(clip, top=5)]


def test_the_example_tags_with_numpy_and_onnxruntime_alone(
    exported: Path, tmp_path: Path, run_light: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    example = EXAMPLES / "tag_exported.py"
    done = run_light(f"EXAMPLE = {str(example)!r}\n{BARE}", "", exported, tmp_path / "clip.wav")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == tags_of(exported, tmp_path / "clip.wav")


@pytest.fixture(scope="session")
def node_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in JavaScript, in a folder that has onnxruntime-node."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    place = tmp_path_factory.mktemp("node")
    # Its script would fetch libraries for GPUs.
    install = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-node"]
    done = subprocess.run(install, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install onnxruntime-node: {done.stderr.strip()[-200:]}")
    return Path(shutil.copy(EXAMPLES / "tag_exported.mjs", place))


@pytest.mark.slow
def test_the_example_in_javascript_gives_the_same_tags(exported: Path, tmp_path: Path, node_example: Path) -> None:
    command = ["node", node_example, exported, tmp_path / "clip.wav"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == tags_of(exported, tmp_path / "clip.wav")
