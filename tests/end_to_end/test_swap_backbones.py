"""examples/swap_backbones.py: every family that is installed goes through the same code."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from audiotag.host import get_host

EXAMPLE = Path(__file__).parents[2] / "examples" / "swap_backbones.py"


@pytest.mark.slow
def test_every_family_learns_and_is_measured(environment, tmp_path):
    folder = tmp_path / "swap"
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--folder", str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(folder / "comparison" / "comparison.csv").set_index("name")
    families = {spec.family for spec in get_host().backbones.values() if "waveform" in spec.inputs}
    assert set(table.index) == families
    assert table["error"].isna().all()
    assert table["score"].between(0, 1).all()
    assert table["pareto"].any()
    for name in families:
        assert name in done.stdout
