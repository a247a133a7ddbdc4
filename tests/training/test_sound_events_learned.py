"""A small network learns from scratch when sounds are heard: the benchmark's own proof, in two minutes of a core."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HOW = ("frames of 40 ms", "windows of 5 s every 2.5 s", "windows of 1 s every 0.25 s")


@pytest.mark.slow
def test_frames_tell_when_and_windows_do_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))
    import sound_events

    sound_events.learn(tmp_path, ["frames"])
    found = {how: values for _, how, values in sound_events.measure(tmp_path, ["frames"])}
    frames, long, short = (found[how] for how in HOW)
    # Event F1 and PSDS1 measured: frames 0.625 and 0.564, windows of 5 s 0.008 and 0.041, of 1 s 0.160 and 0.397.
    assert frames["event F1"] >= 0.5 > 0.3 >= max(long["event F1"], short["event F1"])
    assert frames["PSDS1"] >= 0.4
    assert frames["PSDS1"] > short["PSDS1"]
    assert long["PSDS1"] <= 0.15
