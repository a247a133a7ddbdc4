"""What is shown while something works: how much is done, how long it will take yet."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiotag.cli.infer_progress import InferProgress
from audiotag.cli.printing import TimeLeft, duration
from audiotag.data.clips import Clip
from audiotag.host import get_host
from audiotag.inference.run import InferRun
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

SETTINGS = {
    "format_": "csv", "embeddings": None, "window": None, "hop": None, "threshold": None, "low_threshold": None,
    "resolution": None, "median": None, "merge": None,
    "min_duration": None, "decoding": None, "top": 1, "batch_size": 2, "workers": 1, "strict": False, "resume": False,
    "overwrite": False, "frames": None, "verbatim": False, "per_window": False, "events": False,
    "absolute_times": False,
}  # fmt: skip


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_of_the_whole_run_and_waits_until_it_can_be_known() -> None:
    clock = Clock()
    left = TimeLeft(101, clock)
    clock.now = 30.0  # bringing everything up
    assert left.after(1) is None
    clock.now = 34.0
    assert left.after(3) is None
    clock.now = 50.0
    assert left.after(11) == "about 180 s left in all"
    clock.now = 30.0 + 60 * 60
    assert left.after(51) == "about 60 min left in all"


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (599, "599 s"), (720, "12 min"), (9000, "2.5 h")])
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Listening:
    """Notes what a run tells."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def begin(self, total: int, skipped: int, seconds: float | None) -> None:
        self.told.append((total, seconds))

    def heard(self, seconds: float) -> None:
        self.told.append(seconds)

    def done(self) -> None:
        self.told.append("done")

    def writing(self) -> None: ...
    def failed(self, error: object) -> None: ...
    def interrupted(self) -> None: ...
    def kept(self, path: Path) -> None: ...


def test_within_a_long_recording_progress_is_told_pass_by_pass(tmp_path: Path) -> None:
    network = create_backbone("mn", 2, width_mult=0.1).eval()
    labels = LabelSet.from_names(["a", "b"])
    tagger = Tagger(Model(network, get_host().backbone("mn"), {"width_mult": 0.1}, labels, "tiny"))
    rate, long = tagger.sample_rate, tagger.engines[0].facts.lengths.longest * 1.2
    clips = []
    for name, seconds in (("long", long), ("short", 1.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(int(rate * seconds), dtype=np.float32), rate)
        clips.append(Clip(id=name, path=tmp_path / f"{name}.wav"))
    listening = Listening()
    plan = InferRun.plan({**SETTINGS, "output": tmp_path / "out.csv"})
    assert plan.run(tagger, clips, listening)
    first = listening.told.index("done")
    assert listening.told[0] == (2, pytest.approx(long + 1.0, abs=0.01))
    assert first > 3 and sum(listening.told[1:first]) == pytest.approx(long, abs=0.01)
    assert listening.told[first + 1 :] == [pytest.approx(1.0, abs=0.01), "done"]


class Terminal:
    """Standard error of somebody who looks on."""

    encoding = "utf-8"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.text = ""
        monkeypatch.setattr(sys, "stderr", self)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_the_bar_says_minutes_where_they_are_known_and_recordings_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, expected in ((28_800.0, "0 of 1, 6.0 of 480 min"), (None, "0 of 1, ")):
        terminal = Terminal(monkeypatch)
        with InferProgress() as progress:
            progress.begin(1, 0, seconds)
            progress.heard(360.0)
        assert expected in terminal.text
        assert ("min" in terminal.text) == (seconds is not None)


def test_on_the_terminal_of_the_results_the_bar_is_there_only_while_none_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, clock = Terminal(monkeypatch), Clock()
    monkeypatch.setattr("audiotag.cli.infer_progress.time.perf_counter", clock)
    with InferProgress(shared=True) as progress:
        progress.begin(3, 0, 7210.0)
        clock.now = 0.5
        progress.heard(10.0)
        progress.writing()
        progress.done()
        assert terminal.text == ""
        clock.now = 2.0
        progress.heard(3600.0)
        assert "1 of 3, 60 of 120 min" in terminal.text
        progress.writing()
        taken_away = terminal.text
        assert taken_away.endswith("\x1b[2K")  # the line is empty for what is written
        progress.done()
        clock.now = 2.5
        progress.heard(3600.0)
        assert terminal.text == taken_away
