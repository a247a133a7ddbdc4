"""Doing the reading while the network computes: bounded look-ahead in threads, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_END = object()


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int, depth: int
) -> Iterator[_Result]:
    """``map(function, items)`` in order, with up to *depth* calls done or under way ahead of the consumer.

    An exception of *function* is raised in its turn. Leaving early drops the calls that have not begun.
    """
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="audiotag-read")
    remaining = iter(items)
    pending: deque[Future[_Result]] = deque()
    try:
        while True:
            pending.extend(pool.submit(function, item) for item in islice(remaining, depth - len(pending)))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def iterate_ahead(items: Iterable[_Item], *, depth: int) -> Iterator[_Item]:
    """The *items*, computed in a thread up to *depth* ahead of the consumer."""
    iterator = iter(items)
    # One worker: a generator runs in one thread at a time, and its order is kept.
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audiotag-read")
    pending: deque[Future[object]] = deque(pool.submit(next, iterator, _END) for _ in range(depth))
    try:
        while True:
            item = pending.popleft().result()
            if item is _END:
                return
            pending.append(pool.submit(next, iterator, _END))
            yield item  # type: ignore[misc] # whatever is not _END came from items
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
