"""Pictures of tags and events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotag.errors import AudioError, MissingExtraError, OptionError
from audiotag.inference import Event, Events, Tags
from audiotag.inference.tagger import Tagger
from audiotag.models import Model

MakeModel = Callable[..., Model]
Record = Callable[..., Path]

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    matplotlib.use("agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def _ticks(axes: Any) -> list[str]:
    axes.figure.canvas.draw()
    return [label.get_text() for label in axes.get_yticklabels()]


def _spans(axes: Any) -> list[tuple[float, float]]:
    boxes = [path.get_extents() for bars in axes.collections for path in bars.get_paths()]
    return sorted({(round(box.x0, 3), round(box.x1, 3)) for box in boxes})


def test_tags_are_bars_the_highest_on_top() -> None:
    tags = Tags(("a $5 bill", "b" * 99), ("/m/1", "/m/2"), np.array([0.9, 0.25], np.float32))
    axes = tags.plot()
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.9, 0.25])
    names = _ticks(axes)
    assert names[0] == r"a \$5 bill" and names[1].endswith("...")
    assert axes.get_ylim()[0] > axes.get_ylim()[1] and [text.get_text() for text in axes.texts] == ["0.90", "0.25"]


@pytest.mark.parametrize("under", ["spectrogram", "waveform", None])
def test_events_are_bars_below_their_sound(under: Any, model: MakeModel, record: Record) -> None:
    path = record("day one.wav", 9.3, (1, 0.0, 5.0), (2, 6.0, 9.0), rate=44_100, channels=2)
    events = Tagger(model()).events(path, window=2.0, hop=0.5)
    axes = events.plot(under=under)
    assert axes.get_title("left") == "day one.wav" and axes.get_xlim() == pytest.approx((0, 9.3))
    assert _ticks(axes)[:2] == ["Middle, of three", "High"]
    wanted = {(event.onset, event.offset) for event in events}
    if under != "waveform":
        assert {*_spans(axes)} == {(round(onset, 3), round(offset, 3)) for onset, offset in wanted}
    assert len(axes.images) == (under == "spectrogram")
    if under == "spectrogram":
        assert "1 kHz" in _ticks(axes)
        (image,) = axes.images
        picture = image.get_array()
        assert np.isfinite(picture).all() and picture.shape == (64, 930)
        loud, quiet = picture[:, 100:400].max(), picture[:, 520:580].max()
        assert loud > quiet + 20
        band = picture[:, 100:400].mean(axis=1).argmax()
        assert band < picture[:, 650:850].mean(axis=1).argmax()  # the middle tone lies below the high one


def test_sound_in_memory_and_given_axes(model: MakeModel, record: Record) -> None:
    import soundfile
    from matplotlib.figure import Figure

    sound = soundfile.read(record("a.wav", 3.0, (1, 0.0, 2.0)))
    given = Figure().add_subplot()
    axes = Tagger(model()).events(sound, window=2.0, hop=0.5)[:0].plot(given)
    assert axes is given and len(axes.images) == 1 and axes.get_xlim() == pytest.approx((0, 3.0))
    assert [text.get_text() for text in axes.texts] == ["no sound detected"]


def test_many_classes_and_long_recordings_stay_readable() -> None:
    events = Events([Event(10.0 * n, 10.0 * n + 5 + n, f"class {n}", f"{n}", 0.5) for n in range(100)], "hour.wav")
    axes = events.plot()  # nobody says where the sound is
    assert len(_ticks(axes)) == 20 and _ticks(axes)[0] == "class 99"
    assert [text.get_text() for text in axes.texts] == ["and 80 more classes"]
    assert axes.get_xlabel() == "minutes : seconds" and axes.get_xticklabels()[1].get_text() == "2:00"
    with pytest.raises(OptionError, match="under is 'noise'"):
        events.plot(under="noise")  # type: ignore[arg-type]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for shown in (Tags((), (), np.zeros(0, np.float32)), Events([], "a.wav")):
        with pytest.raises(MissingExtraError, match=r"pip install 'audiotag\[plots\]'"):
            shown.plot()


def test_a_recording_that_is_gone_is_an_error(model: MakeModel, record: Record) -> None:
    path: Path = record("a.wav", 2.0)
    events = Tagger(model()).events(path)
    path.unlink()
    with pytest.raises(AudioError, match=r"a\.wav"):
        events.plot()
