from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from audiotag.inference.ahead import iterate_ahead, map_ahead


@pytest.mark.parametrize(("workers", "depth"), [(1, 1), (3, 5)])
def test_map_keeps_the_order_and_runs_ahead_no_further_than_asked(workers: int, depth: int) -> None:
    begun = 0
    lock = threading.Lock()

    def square(value: int) -> int:
        nonlocal begun
        with lock:
            begun += 1
        return value * value

    results = []
    for result in map_ahead(square, range(50), workers=workers, depth=depth):
        results.append(result)
        assert begun <= len(results) + depth
    assert results == [value * value for value in range(50)]


def test_map_raises_in_turn() -> None:
    def invert(value: int) -> float:
        return 1 / value

    results = map_ahead(invert, [2, 1, 0, 4], workers=2, depth=4)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_computes_while_the_consumer_works() -> None:
    second = threading.Event()

    def note(value: int) -> int:
        if value == 1:
            second.set()
        return value

    results = map_ahead(note, range(3), workers=1, depth=2)
    assert next(results) == 0
    assert second.wait(timeout=10)
    assert list(results) == [1, 2]


def test_iterating_ahead_gives_the_items_and_the_error() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("broken")

    ahead = iterate_ahead(items(), depth=2)
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_leaving_early_stops_the_reading() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    before = threading.active_count()
    ahead = iterate_ahead(items(), depth=3)
    assert next(ahead) == 1
    ahead.close()  # type: ignore[attr-defined]
    assert taken <= 5
    assert threading.active_count() == before
