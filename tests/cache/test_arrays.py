"""Arrays on disk: bounded, the least recently used leaves first, safe with several processes and against kills."""

import multiprocessing
import os
import signal
import sqlite3
import time

import numpy as np
import pytest

from audiotag.cache.ledger import ArrayCache
from audiotag.cache.place import cache_bound, cache_key
from audiotag.errors import OptionError, StoreError

SIZE = 4 * 10 + len(b"10\n")
"""Bytes that ten numbers take."""


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(tmp_path / "cache" / "arrays.sqlite", 5 * SIZE)


def numbers(value):
    return np.full(10, value, np.float32)


def test_arrays_come_back_as_they_were(cache):
    arrays = {"flat": numbers(0.1), "frames": np.arange(12, dtype=np.float32).reshape(3, 4), "one": np.float32([2.5])}
    cache.put(arrays)
    found = cache.get([*arrays, "missing"])
    assert set(found) == set(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
    cache.put({"flat": numbers(7)})
    assert cache.get(["flat"])["flat"][0] == 7 and len(cache) == 3


def test_what_was_not_used_for_longest_goes_first(cache):
    for number in range(5):
        cache.put({str(number): numbers(number)})
    cache.get(["0", "2"])
    cache.put({"5": numbers(5), "6": numbers(6), "7": numbers(7)})
    assert set(cache.get([str(number) for number in range(8)])) == {"0", "2", "5", "6", "7"}
    assert cache.size == 5 * SIZE


def test_what_is_larger_than_the_bound_is_not_kept(cache):
    cache.put({"small": numbers(1), "large": np.zeros(100, np.float32)})
    assert set(cache.get(["small", "large"])) == {"small"}


def test_usage_and_clearing(cache, tmp_path):
    assert (cache.usage().entries, cache.clear().entries) == (0, 0)
    assert not list(tmp_path.iterdir())  # looking makes nothing
    cache.put({"a": numbers(1)})
    time.sleep(0.002)
    between = time.time()
    time.sleep(0.002)
    cache.put({"b": numbers(2), "c": numbers(3)})
    assert (cache.usage().entries, cache.usage().bytes) == (3, 3 * SIZE)
    cleared = cache.clear(before=between)
    assert (cleared.entries, cleared.bytes, set(cache.get(["a", "b", "c"]))) == (1, SIZE, {"b", "c"})
    assert cache.clear().entries == 2 and len(cache) == cache.size == 0


def test_clearing_gives_the_room_back(tmp_path):
    cache = ArrayCache(tmp_path / "arrays.sqlite", 10**9)
    cache.put({str(number): np.zeros(10_000, np.float32) for number in range(20)})
    cache.clear()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000


def _hammer(cache, seed, results):
    generator = np.random.default_rng(seed)
    for _ in range(60):
        key = str(generator.integers(12))
        found = cache.get([key])
        if found and found[key][0] != int(key):
            results.put("wrong")
            return
        cache.put({key: numbers(int(key))})
    results.put("right")


def test_many_processes_at_once(cache):
    cache.put({"0": numbers(0)})  # opened before the fork
    context = multiprocessing.get_context()
    results = context.Queue()
    processes = [context.Process(target=_hammer, args=(cache, seed, results)) for seed in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == ["right"] * 3
    for process in processes:
        process.join()
    assert len(cache) == 5 and cache.size == 5 * SIZE


def _write_for_ever(cache, begun):
    number = 0
    while True:
        cache.put({str(number + offset): numbers(number) for offset in range(3)})
        begun.set()
        number += 1


@pytest.mark.parametrize("wait", [0.0, 0.013, 0.031])
def test_a_killed_writer_leaves_a_whole_cache(cache, wait):
    context = multiprocessing.get_context()
    begun = context.Event()
    writer = context.Process(target=_write_for_ever, args=(cache, begun))
    writer.start()
    assert begun.wait(30)
    time.sleep(wait)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with sqlite3.connect(cache.path) as ledger:
        kept, total = ledger.execute("SELECT SUM(bytes), (SELECT bytes FROM total) FROM entries").fetchone()
    ledger.close()
    assert kept == total <= cache.max_bytes
    cache.put({"after": numbers(1)})
    assert "after" in cache.get(["after"])


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "arrays.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"store of embeddings.*\n?.*delete it"):
        ArrayCache(tmp_path / "arrays.sqlite").get(["a"])


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "much"])
def test_a_bound_that_is_none(monkeypatch, text):
    monkeypatch.setenv("AUDIOTAG_CACHE_GB", text)
    with pytest.raises(OptionError, match="AUDIOTAG_CACHE_GB"):
        cache_bound()


def test_everything_that_has_a_say_makes_the_key():
    keys = {cache_key("a", "b"), cache_key("b", "a"), cache_key("a"), cache_key("a", "b", 1), cache_key("a", "b", 1.0)}
    assert len(keys) == 5
    assert cache_key("a", 1) == cache_key("a", 1)


def test_parts_that_look_alike_together_have_keys_of_their_own():
    parts = [
        ("a", "b/c"),
        ("a/b", "c"),
        ("a/b/c",),
        ("a", "b", "c"),
        ("", "a", "b/c"),
        ('a", "b/c',),
        ("a", ("b", "c")),
    ]
    assert len({cache_key(*one) for one in parts}) == len(parts)
