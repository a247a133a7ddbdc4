"""Sound that comes as it happens gives what a file of it gives, in whatever pieces it comes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hearing import RATE, Ear, noise, pieces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiotag.audio import AudioStream
from audiotag.errors import AudioError, OptionError
from audiotag.inference import Decoding, WindowScores
from audiotag.inference.decoding import Decoder
from audiotag.inference.tagger import Tagger

STREAMS = {
    "seconds": st.floats(0.001, 12.0),
    "rate": st.sampled_from([RATE, 11_025, 16_000, 44_100]),
    "cuts": st.lists(st.floats(0, 1), max_size=12),
    "seed": st.integers(0, 1000),
}


@given(**STREAMS, hop=st.sampled_from([None, 0.5, 0.7, 2.0]))
@settings(max_examples=60, deadline=None)
def test_any_pieces_give_the_windows_of_the_whole(
    seconds: float, rate: int, cuts: list[float], seed: int, hop: float | None
) -> None:
    tagger = Tagger(Ear())
    sound = noise(max(1, round(seconds * rate)), rate, seed)
    expected = list(tagger.score_windows((sound, rate), hop=hop, embeddings=True))
    found = list(tagger.score_windows(AudioStream(pieces(sound, cuts), rate), hop=hop, embeddings=True))
    assert [(one.onset, one.offset) for one in found] == [(one.onset, one.offset) for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.embedding, other.embedding)


@given(**STREAMS, by_frames=st.booleans(), merge=st.sampled_from([0.0, 0.4]), median=st.sampled_from([0.0, 0.5]))
@settings(max_examples=60, deadline=None)
def test_any_pieces_give_the_events_of_the_whole(
    seconds: float, rate: int, cuts: list[float], seed: int, by_frames: bool, merge: float, median: float
) -> None:
    tagger = Tagger(Ear())
    sound = noise(max(1, round(seconds * rate)), rate, seed)
    told = {"merge": merge, "median": median, **({} if by_frames else {"window": 1.0, "hop": 0.25})}
    expected = tagger.events((sound, rate), **told)
    assert list(tagger.events(AudioStream(pieces(sound, cuts), rate), **told)) == list(expected)


def test_a_stream_gives_the_events_of_a_file(tmp_path: object) -> None:
    tagger = Tagger(Ear())
    sound = noise(44_100 * 7 + 13, 44_100, 3)
    soundfile.write(f"{tmp_path}/sound.wav", sound, 44_100, subtype="FLOAT")
    for told in ({}, {"hop": 0.5}):
        expected = list(tagger.events(f"{tmp_path}/sound.wav", **told))
        assert list(tagger.events(AudioStream(pieces(sound, [0.1, 0.35]), 44_100), **told)) == expected != []


def test_a_window_comes_as_soon_as_its_sound_is_there() -> None:
    given_samples = 0

    def blocks() -> Iterator[NDArray[np.float32]]:
        nonlocal given_samples
        while True:
            given_samples += 400
            yield np.zeros(400, dtype=np.float32)

    windows = Tagger(Ear()).score_windows(AudioStream(blocks(), RATE, "kitchen"), hop=0.5, batch_size=1)
    for number in range(4):
        window = next(windows)
        assert (window.onset, window.offset) == (number * 0.5, number * 0.5 + 2)
        assert given_samples == window.offset * RATE


def test_what_is_no_sound_is_refused() -> None:
    tagger = Tagger(Ear())
    with pytest.raises(AudioError, match="kitchen: 1 of 2 samples are NaN"):
        tagger.events(AudioStream([np.array([0, np.nan], dtype=np.float32)], RATE, "kitchen"))
    with pytest.raises(OptionError, match="sample rate"):
        AudioStream([], 0)
    with pytest.raises(OptionError, match="given as AudioStream"):
        tagger.tag(AudioStream([], RATE))  # type: ignore[arg-type] # a stream has no end to wait for


def cells(*scores: float) -> list[WindowScores]:
    return [WindowScores(place, place + 1, np.array([score], dtype=np.float32)) for place, score in enumerate(scores)]


def decoder(**told: float) -> Decoder:
    return Decoder(Decoding.of(np.array([0.5]), **told), at_once=1)


def ends(decoder: Decoder, *scores: float) -> list[int]:
    """After how many cells each event was given; −1 for those at the end."""
    counts = [place + 1 for place, cell in enumerate(cells(*scores)) for _ in decoder.push(cell)]
    return counts + [-1] * len(decoder.finish())


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, [3, 7]),
        ({"merge": 1.0}, [4, -1]),
        ({"merge": 2.0}, [5, -1]),
        ({"merge": 3.0}, [-1]),
        ({"median": 3.0}, [4]),
    ],
)
def test_an_event_is_given_with_the_cell_that_shows_its_end(told: dict[str, float], expected: list[int]) -> None:
    assert ends(decoder(**told), 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1) == expected


def test_what_is_begun_is_known_before_it_ends() -> None:
    reading = decoder(min_duration=2.0, merge=1.0, low_threshold=0.3)
    known: list[list[tuple[float, float]]] = []
    for cell in cells(0.4, 0.9, 0.1, 0.4, 0.1, 0.1, 0.9):
        ended = reading.push(cell)
        known.append([(one.onset, one.offset) for one in reading.begun()])
        assert [(one.onset, one.offset) for one in ended] == ([(0, 2)] if cell.onset == 4 else [])
    assert known == [[], [(0, 2)], [(0, 2)], [(0, 2)], [], [], []]
    assert reading.is_open(0) and reading.finish() == [] and not reading.is_open(0)
    assert math.isclose(reading.position, 7)


@given(
    scores=st.lists(st.sampled_from([0.1, 0.4, 0.9]), max_size=30),
    merge=st.sampled_from([0.0, 1.0, 2.5]),
    median=st.sampled_from([0.0, 3.0, 5.0]),
    min_duration=st.sampled_from([0.0, 2.0]),
    low=st.sampled_from([None, 0.3]),
)
@settings(max_examples=200, deadline=None)
def test_begun_events_are_reported_and_nothing_else_is(
    scores: list[float], merge: float, median: float, min_duration: float, low: float | None
) -> None:
    rule = Decoding.of(np.array([0.5]), merge=merge, median=median, min_duration=min_duration, low_threshold=low)
    expected = list(rule.spans(cells(*scores)))
    reading, ended, begun = Decoder(rule, at_once=1), [], set()
    for cell in cells(*scores):
        ended += reading.push(cell)
        begun |= {one.onset for one in reading.begun()}
    assert ended + reading.finish() == expected
    assert begun <= {one.onset for one in expected}
