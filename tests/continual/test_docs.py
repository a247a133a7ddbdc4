"""The Python of docs/continual.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotag.continual.policy import Example

PAGE = Path(__file__).parents[2] / "docs" / "continual.md"
SECTIONS = ("In Python", "A policy of your own", "The store on disk", "Measuring forgetting")


def blocks(title: str) -> list[str]:
    sections = re.split(r"^#{2,3} (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))[title]
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("title", SECTIONS)
def test_examples_run(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "waveform": rng.uniform(-0.5, 0.5, 16000).astype(np.float32),
        "vector": rng.normal(size=8),
        "generator": rng,
    }
    found = blocks(title)
    assert found
    for code in found:
        exec(compile(code, f"{PAGE.name}: {title}", "exec"), names)
    printed = capsys.readouterr().out
    if title == "The store on disk":
        assert printed.startswith("2 1\n") and "Doorbell" in printed
    if title == "Measuring forgetting":
        assert printed.splitlines()[-1].startswith("-0.2")
    if title == "A policy of your own":
        policy = names["CoinFlip"](3, 2, seed=1)
        stored = [policy.offer(Example(str(number), (0,))).stored for number in range(200)]
        assert len(policy) == 3 and 60 < sum(stored) < 140
