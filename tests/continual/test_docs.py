"""The Python of the pages about continual learning does what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotag.continual.policy import Example

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``run(page, title)`` executes the Python of a section: what it printed and the names it left."""
    monkeypatch.chdir(tmp_path)

    def execute(page: str, title: str) -> tuple[str, dict[str, Any]]:
        # The text before the first heading of level two is the section of the page's own title.
        sections = re.split(r"^#{1,3} (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
        text = dict(zip(sections[1::2], sections[2::2], strict=True))[title]
        found = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        assert found
        rng = np.random.default_rng(0)
        waveform = rng.uniform(-0.5, 0.5, 16000).astype(np.float32)
        names: dict[str, Any] = {"waveform": waveform, "vector": rng.normal(size=8), "generator": rng}
        for code in found:
            exec(compile(code, f"{page}: {title}", "exec"), names)
        return capsys.readouterr().out, names

    return execute


def test_policies_in_python(run):
    printed, names = run("policies.md", "In Python")
    assert printed.startswith("True None ") and names["twin"].capacity == 100 and names["policy"].capacity == 50
    assert isinstance(names["should_store"], bool)


def test_a_policy_of_your_own(run):
    _, names = run("policies.md", "A policy of your own")
    policy = names["CoinFlip"](3, 2, seed=1)
    stored = [policy.offer(Example(str(number), (0,))).stored for number in range(200)]
    assert len(policy) == 3 and 60 < sum(stored) < 140


def test_a_store(run):
    printed, _ = run("store.md", "Stores of clips")
    assert printed.startswith("2 1\n") and "Doorbell" in printed


def test_measures_of_forgetting(run):
    printed, names = run("howto_device.md", "Measure forgetting")
    assert printed.splitlines()[-1].startswith("-0.2")
    assert names["forgetting_from_best"](names["scores"])[1:] == pytest.approx([0.4, 0.2])


def test_the_learner(run, tmp_path):
    printed, _ = run("howto_device.md", "Do it from Python")
    assert "there was room" in printed
    assert (tmp_path / "evening run" / "last" / "audiotag.json").exists()
