"""The Python about on-line learning in docs/continual.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "continual.md"


def test_the_learner_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sections = re.split(r"^#{2,3} (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))["From Python"]
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"waveform": np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)}
    exec(compile(code, PAGE.name, "exec"), names)
    assert "there was room" in capsys.readouterr().out
    assert (tmp_path / "evening run" / "last" / "audiotag.json").exists()
