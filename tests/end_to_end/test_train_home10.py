"""examples/train_home10.py: from data to the files that the plugin ships, on a quarter of the clips."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file

from audiotag import create_backbone

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_home10.py"


@pytest.mark.slow
def test_every_step(assets, environment, tmp_path):
    whole = assets / "assets/esc10"
    data = tmp_path / "ESC-10"
    data.mkdir()
    (data / "audio").symlink_to(whole / "audio")
    (data / "ATTRIBUTION.md").symlink_to(whole / "ATTRIBUTION.md")
    clips = pd.read_csv(whole / "esc10.csv").groupby(["fold", "category"]).head(2)
    clips.to_csv(data / "esc10.csv", index=False)
    command = [sys.executable, str(EXAMPLE), "--data", str(data), "--folder", str(tmp_path / "run"), "--epochs", "1"]
    command += ["--weights", str(assets / "assets/weights/mn04_as_mAP_432.pt")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    shipped = tmp_path / "run/home10"
    table = pd.read_csv(shipped / "cross_validation.csv")
    assert list(table.model) == ["mn04_as, head alone", "mn01, alone", "mn01, taught", "mn02, alone", "mn02, taught"]
    assert table.accuracy[0] > 0.8 and (table.filter(like="fold").mean(axis=1) - table.accuracy).abs().max() < 1e-3
    assert len(pd.read_csv(shipped / "credits.csv")) == len(clips) == 80
    ours = {name: value.shape for name, value in load_file(shipped / "home10.safetensors").items()}
    assert ours == {name: tuple(value.shape) for name, value in create_backbone("home10").state_dict().items()}
