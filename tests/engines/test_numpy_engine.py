"""Whoever can compute passes can tag: an engine without torch, where there is none and beside one of torch."""

from __future__ import annotations

import csv
import importlib.util
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from audiotag.audio.frontends.families import slaney_log_mel
from audiotag.audio.windows import iterate_windows
from audiotag.errors import AudioError, OptionError
from audiotag.inference.tagger import Tagger

ENGINE = Path(__file__).with_name("band_engine.py")
NETWORK = Path(__file__).parents[1] / "inference" / "conftest.py"


def _module(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    name = f"of_the_tests_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bands(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _module(ENGINE, monkeypatch)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _module(NETWORK, monkeypatch)


@pytest.fixture
def long_file(bands: ModuleType, tmp_path: Path) -> Path:
    path = tmp_path / "long.wav"
    soundfile.write(path, bands.tones(20.3, (0, 1.0, 6.0), (2, 8.0, 16.0)), bands.RATE, subtype="PCM_24")
    return path


def test_it_tags_as_the_same_network_in_torch_does(bands: ModuleType, network: ModuleType, long_file: Path) -> None:
    ours, theirs = Tagger(bands.BandEngine()), Tagger(network.tone_model())
    for seconds in (0.3, 2.0, 3.3, 9.0):
        sound = bands.tones(seconds, (1, 0.0, 2.0), (2, 2.0, 9.0))
        np.testing.assert_allclose(ours.logits(sound, 8000), theirs.logits(sound, 8000), atol=1e-3)
        np.testing.assert_allclose(ours.embed(sound, 8000), theirs.embed(sound, 8000), atol=1e-5)
        for here, there in zip(ours.embed(sound, 8000, "frame"), theirs.embed(sound, 8000, "frame"), strict=True):
            np.testing.assert_allclose(here, there, atol=1e-5)
    here, there = (tagger.events(long_file, window=2.0, hop=0.5) for tagger in (ours, theirs))
    assert list(here.event_label) == list(there.event_label) == ["Low", "High"]
    np.testing.assert_array_equal([here.onset, here.offset], [there.onset, there.offset])
    assert ours.tag(long_file).mids == theirs.tag(long_file).mids


def test_engines_of_two_kinds_are_an_ensemble(bands: ModuleType, network: ModuleType, long_file: Path) -> None:
    model = network.tone_model(16_000, order=(2, 0, 1), name="torch")
    both = Tagger([bands.BandEngine(), model])
    assert both.name == "bands + torch" and both.sample_rate == 16_000
    np.testing.assert_allclose(both.tag(long_file).scores, Tagger(model).tag(long_file).scores, atol=0.01)


def test_a_long_recording_is_read_as_it_is_computed(
    bands: ModuleType, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def counted(*arguments: Any) -> Any:
        nonlocal read
        for window in iterate_windows(*arguments):
            read += 1
            yield window

    monkeypatch.setattr("audiotag.inference.sound.iterate_windows", counted)
    engine = bands.BandEngine()
    tagger = Tagger(engine)
    windows = tagger.score_windows(long_file, hop=0.1, batch_size=3)
    for _ in range(4):
        next(windows)
    assert engine.shapes == [(3, 16_000)] * 2
    assert read <= 3 * (2 + 2)  # two batches are computed, and two at most are read ahead
    windows.close()  # type: ignore[attr-defined]
    engine.shapes.clear()
    assert tagger.tag(long_file, batch_size=3).labels[0] == "High"
    assert engine.shapes == [(3, 16_000)] * 3 + [(2, 16_000)]


def test_what_an_engine_lacks_and_what_it_has_of_its_own_is_said(bands: ModuleType) -> None:
    tagger = Tagger(bands.BandEngine())
    sound = bands.tones(2.0)
    with pytest.raises(OptionError, match=r"bands.*no feature maps"):
        tagger.embed(sound, 8000, "map")
    for settings in ({"device": "cuda"}, {"precision": "16"}, {"accelerate": False}):
        with pytest.raises(OptionError, match="an engine has its own"):
            Tagger(bands.BandEngine(), **settings)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match=r"2 of the 3 numbers that bands gives are not finite"):
        _broken(bands, tagger).scores(sound, 8000)


def _broken(bands: ModuleType, tagger: Tagger) -> Tagger:
    class Broken(bands.BandEngine):  # type: ignore[name-defined, misc]
        def forward(self, waveforms: Any, video: Any = None, *, embed: bool = False) -> Any:
            output = super().forward(waveforms, video, embed=embed)
            output.logits[:, 1:] = np.nan
            return output

    return Tagger(Broken())


def test_its_tagger_goes_to_other_processes(bands: ModuleType) -> None:
    tagger = Tagger(bands.BandEngine())
    sound = bands.tones(2.0, (1, 0.0, 2.0))
    copy = pickle.loads(pickle.dumps(tagger))
    np.testing.assert_array_equal(copy.scores(sound, 8000), tagger.scores(sound, 8000))
    assert repr(copy) == "Tagger('bands', 3 classes, 8000 Hz, cpu)"


RUN = """
import json
from pathlib import Path

module, recording, output = sys.argv[1:]
exec(compile(Path(module).read_text(), module, "exec"))

import numpy as np
from audiotag import Tagger
from audiotag.inference.inputs import find_clips
from audiotag.inference.run import InferRun


class Quiet:
    def begin(self, total, skipped, seconds): pass
    def heard(self, seconds): pass
    def writing(self): pass
    def done(self): pass
    def failed(self, error): raise error
    def interrupted(self): raise AssertionError
    def kept(self, path): raise AssertionError


def run(name, **settings):
    names = "embeddings window hop resolution threshold low_threshold median merge min_duration top batch_size".split()
    names += ["frames", "format_", "decoding"]
    flags = dict.fromkeys("events per_window strict resume overwrite verbatim absolute_times".split(), False)
    path = Path(output) / name
    plan = InferRun.plan({**dict.fromkeys(names), **flags, "workers": 2, "output": path, **settings})
    assert plan.run(Tagger(BandEngine()), find_clips([recording]), Quiet())


run("tags.csv", embeddings=Path(output) / "tags.npz")
run("events.json", events=True, hop=0.5)
tagger = Tagger(BandEngine())
sound = tones(2.0, (1, 0.0, 2.0))
assert tagger.tag((sound, RATE)).labels[0] == "Middle, of three"
assert tagger.embed(sound, RATE).shape == (1, 3)
frames, times = tagger.embed(sound, RATE, "frame")
assert frames.shape == (1, 40, 3) and times.shape == (40,)
found = tagger.events(recording, hop=0.5)
assert "<td" in found._repr_html_()
try:
    found.to_frame()
except Exception as error:
    print(error)
"""


def test_it_works_where_there_is_no_torch(
    run_light: Callable[..., Any], long_file: Path, tmp_path: Path, bands: ModuleType
) -> None:
    done = run_light(RUN, ENGINE, long_file, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'pandas', which is not installed" in done.stdout
    tagger = Tagger(bands.BandEngine())
    with (tmp_path / "tags.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["event_label"] for row in rows] == list(tagger.tag(long_file).labels)
    assert np.load(tmp_path / "tags.npz")["embeddings"].shape == (1, 3)
    (recording,) = json.loads((tmp_path / "events.json").read_text())["recordings"]
    expected = tagger.events(long_file, hop=0.5)
    assert [event["onset"] for event in recording["events"]] == list(expected.onset)
    assert [event["event_label"] for event in recording["events"]] == ["Low", "High"] == list(expected.event_label)


def test_an_engine_that_states_a_front_end_and_has_no_halves_of_a_pass_is_told(bands: ModuleType) -> None:
    engine = bands.BandEngine()
    engine.facts = replace(engine.facts, front_end=slaney_log_mel())
    with pytest.raises(OptionError, match=r"bands: .*does not define spectrograms.* Leave front_end out"):
        list(Tagger(engine).score_windows((bands.tones(8.0), bands.RATE), window=2.0, hop=0.5))


@pytest.mark.parametrize("window_mean", ["logits", "probabilities"])
def test_windows_of_long_sound_are_averaged_as_the_network_says(bands: ModuleType, window_mean: str) -> None:
    engine = bands.BandEngine()
    engine.facts = replace(engine.facts, lengths=replace(engine.facts.lengths, window_mean=window_mean))
    tagger = Tagger(engine)
    sound = bands.tones(6.0, (0, 0.0, 2.0), (1, 3.0, 6.0))
    windows = engine.forward(sound.reshape(3, -1)).logits
    mean = windows.mean(0)
    if window_mean == "probabilities":
        mean = -np.log(1 / (1 / (1 + np.exp(-windows))).mean(0) - 1)
    np.testing.assert_allclose(tagger.logits(sound, bands.RATE)[0], mean, atol=1e-5)
    whole = sound[: 3 * bands.RATE]  # goes in one pass
    np.testing.assert_array_equal(tagger.logits(whole, bands.RATE), engine.forward(whole[None]).logits)
    engine.facts = replace(engine.facts, single_label=True)
    np.testing.assert_allclose(Tagger(engine).logits(sound, bands.RATE)[0], windows.mean(0), atol=1e-5)
