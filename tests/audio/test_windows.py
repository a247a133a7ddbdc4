from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.audio.windows import PassLengths, fit_length, iterate_windows, tile_to, window_starts
from audiotag.errors import OptionError


def ramp(samples: int) -> np.ndarray:
    return np.arange(samples, dtype=np.float32)


def test_tiling_repeats_and_cuts() -> None:
    np.testing.assert_array_equal(tile_to(ramp(3), 8), [0, 1, 2, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(tile_to(np.stack([ramp(2), ramp(2) + 5]), 3), [[0, 1, 0], [5, 6, 5]])
    np.testing.assert_array_equal(tile_to(ramp(9), 8), ramp(9))
    with pytest.raises(OptionError):
        tile_to(ramp(0), 8)


@given(samples=st.integers(1, 60), wanted=st.integers(1, 60), offset=st.integers(-5, 80))
def test_fit_length_gives_the_length_and_a_piece_of_the_sound(samples: int, wanted: int, offset: int) -> None:
    result = fit_length(ramp(samples), wanted, offset)
    assert result.size == wanted
    if samples > wanted:
        begin = int(result[0])
        np.testing.assert_array_equal(result, ramp(samples)[begin : begin + wanted])
        assert begin == min(max(offset, 0), samples - wanted)


def blocks_of(sound: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    position = 0
    for size in sizes:
        yield sound[position : position + size]
        position += size
    yield sound[position:]


@given(
    total=st.integers(1, 400),
    window=st.integers(1, 120),
    hop_share=st.floats(0.01, 1.0),
    sizes=st.lists(st.integers(0, 150), max_size=8),
)
def test_windows_of_a_stream(total: int, window: int, hop_share: float, sizes: list[int]) -> None:
    hop = max(1, int(window * hop_share))
    sound = ramp(total)
    windows = list(iterate_windows(blocks_of(sound, sizes), window, hop))
    assert [piece.start for piece in windows] == window_starts(total, window, hop)
    covered = np.zeros(total, dtype=bool)
    for piece in windows:
        assert piece.samples.size == min(window, total)
        np.testing.assert_array_equal(piece.samples, sound[piece.start : piece.stop])
        covered[piece.start : piece.stop] = True
    assert covered.all()
    assert windows[-1].stop == total
    assert len({piece.start for piece in windows}) == len(windows)


def test_the_last_window_ends_with_the_recording() -> None:
    assert window_starts(100, 40, 20) == [0, 20, 40, 60]
    assert window_starts(101, 40, 20) == [0, 20, 40, 60, 61]
    assert window_starts(40, 40, 20) == [0]
    assert window_starts(3, 40, 20) == [0]


def test_a_stream_of_nothing_has_no_windows() -> None:
    assert list(iterate_windows([ramp(0)], 4, 2)) == []


@pytest.mark.parametrize(("window", "hop"), [(0, 1), (4, 0), (4, 5)])
def test_impossible_windows_are_refused(window: int, hop: int) -> None:
    with pytest.raises(OptionError, match="hop"):
        list(iterate_windows([ramp(10)], window, hop))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 6])
def test_tiles_fill_exactly(length: int) -> None:
    assert tile_to(ramp(length), 6).tolist() == (list(range(length)) * 6)[:6]
    assert tile_to(ramp(length), 1).size == length


@pytest.mark.parametrize(("offset", "first"), [(0, 0), (1, 1), (2, 2), (3, 2), (-1, 0)])
def test_a_cut_of_two_channels(offset: int, first: int) -> None:
    both = np.stack([ramp(5), ramp(5) + 10])
    assert fit_length(both, 3, offset).tolist() == [[first, first + 1, first + 2], [first + 10, first + 11, first + 12]]
    assert fit_length(both, 3).tolist() == [[0, 1, 2], [10, 11, 12]]
    assert fit_length(both, 5, 2).tolist() == both.tolist()
    assert fit_length(both, 6, 2).shape == (2, 6)


def test_windows_of_one_sample() -> None:
    assert [(piece.start, piece.samples.tolist()) for piece in iterate_windows([ramp(3)], 1, 1)] == [
        (0, [0]),
        (1, [1]),
        (2, [2]),
    ]
    assert window_starts(3, 1, 1) == [0, 1, 2]


@pytest.mark.parametrize("total", [1, 3, 4])
def test_a_short_recording_is_one_window(total: int) -> None:
    (piece,) = iterate_windows([ramp(total)], 4, 2)
    assert (piece.start, piece.stop, piece.samples.tolist()) == (0, total, list(range(total)))
    assert piece.samples.dtype == np.float32


def test_windows_come_as_soon_as_they_are_whole_and_hold_little() -> None:
    """Of a stream without an end no more is held than a window and a block."""
    taken = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            taken.append(len(taken))
            yield np.full(4, taken[-1], dtype=np.float32)

    windows = iterate_windows(endless(), 8, 8)
    for number in range(50):
        piece = next(windows)
        assert piece.start == 8 * number and piece.stop == 8 * number + 8
        assert piece.samples.tolist() == [2 * number] * 4 + [2 * number + 1] * 4
        assert piece.samples.dtype == np.float32
        assert len(taken) == 2 * number + 2
        base = piece.samples.base
        assert base is None or base.size <= 12


@pytest.mark.parametrize(
    ("stated", "bounds", "clip"),
    [
        ({"shortest": 1.0, "clip": 2.0, "longest": 4.0}, (1.0, 4.0), 2.0),
        ({"shortest": 1.0, "clip": 2.0, "longest": None}, (1.0, 60.0), 2.0),
        ({"shortest": 1.0, "clip": 90.0, "longest": None}, (1.0, 90.0), 90.0),  # it was trained on that, after all
        ({"shortest": 3.0, "clip": 10.0, "longest": 1.5}, (1.5, 1.5), 1.5),  # an option has made it shorter
        ({"shortest": 0.1, "clip": 0.33333, "longest": 4.0}, (0.1, 4.0), 33 / 100),
    ],
)
def test_what_a_network_states_says_what_goes_in_one_pass(
    stated: dict[str, float | None], bounds: tuple[float, float], clip: float
) -> None:
    lengths = PassLengths.of(100, **stated)  # type: ignore[arg-type]
    assert (lengths.bounds, lengths.clip) == (bounds, clip)


@pytest.mark.parametrize(
    ("samples", "pieces"),
    [
        (1, [(0, 105)]),
        (104, [(0, 105)]),
        (105, [(0, 105)]),
        (400, [(0, 400)]),
        (401, [(0, 200), (200, 200), (201, 200)]),
        (600, [(0, 200), (200, 200), (400, 200)]),
    ],
)
def test_sound_is_repeated_taken_whole_or_cut_into_windows(samples: int, pieces: list[tuple[int, int]]) -> None:
    lengths = PassLengths.of(100, shortest=1.0401, clip=2.0, longest=4.0)
    cut = lengths.cut(ramp(samples))
    assert [(window.start, window.samples.size) for window in cut] == pieces
    for window in cut:
        expected = np.resize(ramp(samples)[window.start :], window.samples.size)
        np.testing.assert_array_equal(window.samples, expected)
