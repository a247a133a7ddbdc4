"""Decoded clips on disk: the same numbers, bounded space, any number of processes."""

import multiprocessing
import os
import pickle
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import soundfile

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.recording import read_clip
from audiotag.data.sets.tiny import tiny_sound
from audiotag.data.sound_cache import SoundCache
from audiotag.errors import AudioError, OptionError, StoreError
from audiotag.labels import LabelSet
from audiotag.training.data import Batches, ClipReader, Intake

RATE = 8000
STEP = 2.0**-23


@pytest.fixture
def clips(tmp_path):
    found = []
    for number in range(8):
        path = tmp_path / f"{number}.wav"
        sound = np.tile(tiny_sound((number,), number, rate=44_100), 2 + number % 2)
        soundfile.write(path, sound * (1.8 if number == 7 else 1.0), 44_100, subtype="FLOAT")
        found.append(Clip(id=str(number), path=path, labels=(0,)))
    return ClipSet(tuple(found), LabelSet.from_names(["x"]))


@pytest.fixture
def cache(tmp_path):
    return SoundCache(tmp_path / "cache", 10_000_000)


def files(cache):
    return sorted(path for path in cache.root.glob("??/*"))


def test_a_clip_is_the_same_within_the_precision_of_storage(clips, cache):
    for clip in clips:
        plain = read_clip(clip, RATE)
        first, second = cache.read(clip, RATE), cache.read(clip, RATE)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, plain, rtol=0, atol=STEP)
    assert len(cache) == len(files(cache)) == 8
    assert cache.size == sum(path.stat().st_size for path in files(cache))


def test_it_is_decoded_once(clips, cache, monkeypatch):
    cache.read(clips[0], RATE)
    monkeypatch.setattr("audiotag.data.sound_cache.read_clip", lambda *a, **k: pytest.fail("decoded again"))
    cache.read(clips[0], RATE)
    copy = clips[0].path.with_name("copy.wav")
    copy.write_bytes(clips[0].path.read_bytes())
    cache.read(Clip(id="other", path=copy), RATE)  # the content is the key


def test_rate_part_and_content_make_the_key(clips, cache):
    clip = clips[0]
    sounds = [cache.read(clip, RATE), cache.read(clip, 16_000), cache.read(Clip("a", clip.path, stop=0.3), RATE)]
    assert [len(sound) for sound in sounds] == [8000, 16_000, 2400]
    clip.path.write_bytes(clips[1].path.read_bytes())
    assert (cache.read(clip, RATE)[:8000] != sounds[0]).any()
    assert len(cache) == 4


def test_parts_are_cut_on_the_grid_of_the_rate(clips, cache):
    whole = cache.read(clips[1], RATE)
    for _ in range(2):
        np.testing.assert_array_equal(
            cache.read(clips[1], RATE, lambda count: (count // 3, count // 2)), whole[4000:6000]
        )
    cache.close()
    missed = cache.read(clips[2], RATE, lambda count: (10, 20))
    np.testing.assert_array_equal(missed, cache.read(clips[2], RATE)[10:20])


def test_what_was_not_used_for_longest_goes_first(clips, tmp_path):
    sizes = SoundCache(tmp_path / "probe", 10_000_000)
    for clip in clips:
        sizes.read(clip, RATE)
    bound = sizes.size * 5 // 8
    cache = SoundCache(tmp_path / "cache", bound)
    reads = [0, 1, 2, 0, 3, 4, 0, 5, 6, 0, 7, 0]
    for number in reads:
        cache.read(clips[number], RATE)
        on_disk = sum(path.stat().st_size for path in files(cache))
        assert on_disk == cache.size <= bound
    kept = len(cache)
    decoded = []
    cache_module = "audiotag.data.sound_cache.read_clip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, lambda clip, rate: decoded.append(clip.id) or read_clip(clip, rate))
        cache.read(clips[0], RATE)
        cache.read(clips[7], RATE)
        cache.read(clips[1], RATE)
    assert decoded == ["1"] and 2 <= kept < 8


def test_reading_a_clip_again_keeps_it(clips, tmp_path):
    probe = SoundCache(tmp_path / "probe", 10_000_000)
    for number in (0, 2, 4):
        probe.read(clips[number], RATE)
    room_for_two = probe.size - 1
    cache = SoundCache(tmp_path / "cache", room_for_two)
    for number in (0, 2, 0, 4):
        cache.read(clips[number], RATE)
    decoded = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "audiotag.data.sound_cache.read_clip", lambda clip, rate: decoded.append(clip.id) or read_clip(clip, rate)
        )
        for number in (4, 0, 2):
            cache.read(clips[number], RATE)
    assert decoded == ["2"]


def test_a_clip_larger_than_the_bound_is_read_all_the_same(clips, tmp_path):
    cache = SoundCache(tmp_path / "cache", 100)
    np.testing.assert_allclose(cache.read(clips[0], RATE), read_clip(clips[0], RATE), atol=STEP)
    assert len(cache) == 0


def test_a_smaller_bound_and_leftovers_are_tidied_up(clips, tmp_path):
    cache = SoundCache(tmp_path / "cache", 10_000_000)
    for clip in clips:
        cache.read(clip, RATE)
    half = cache.size // 2
    stray = files(cache)[0].with_name("f" * 32 + ".flac")
    stray.write_bytes(b"left by a killed program")
    theirs = stray.with_name("evening.flac")
    theirs.write_bytes(b"precious")
    again = SoundCache(tmp_path / "cache", half)
    assert again.size <= half and not stray.exists()
    assert theirs.read_bytes() == b"precious"
    theirs.unlink()
    assert again.size == sum(path.stat().st_size for path in files(again))


@pytest.mark.parametrize("damage", ["gone", "short", "garbage"])
def test_a_damaged_file_is_made_again(clips, cache, damage):
    before = cache.read(clips[0], RATE)
    (path,) = files(cache)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:100] if damage == "short" else bytes(len(content)))
    np.testing.assert_array_equal(cache.read(clips[0], RATE), before)
    assert files(cache) == [path] and path.read_bytes() == content


def test_wrong_arguments_and_recordings(clips, tmp_path):
    with pytest.raises(OptionError, match="0 bytes"):
        SoundCache(tmp_path / "cache", 0)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        SoundCache(tmp_path / "file", 100)
    cache = SoundCache(tmp_path / "cache", 100)
    with pytest.raises(AudioError, match=r"none\.wav: the file cannot be read"):
        cache.read(Clip(id="x", path=tmp_path / "none.wav"), RATE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="ledger"):
        SoundCache(tmp_path / "other", 100)


def _hammer(cache, clips, seed, results):
    order = np.random.default_rng(seed).integers(0, len(clips), 40)
    results.put([float(np.abs(cache.read(clips[int(index)], RATE)).sum()) for index in order])


def test_many_processes_at_once(clips, tmp_path):
    sizes = SoundCache(tmp_path / "probe", 10_000_000)
    expected = [float(np.abs(sizes.read(clip, RATE)).sum()) for clip in clips]
    cache = SoundCache(tmp_path / "cache", sizes.size // 2)
    context = multiprocessing.get_context()
    results = context.Queue()
    processes = [context.Process(target=_hammer, args=(cache, clips, seed, results)) for seed in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert {value for sums in found for value in sums} <= set(expected)
    assert cache.size == sum(path.stat().st_size for path in files(cache)) <= sizes.size // 2


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_with_and_without_it(clips, cache, workers):
    plan = [[(index, index) for index in range(8)]]

    def waveforms(cache, longest):
        reader = ClipReader(clips, Intake(RATE, 0.5, longest), seed=1, cache=cache)
        with closing(Batches({"clips": pickle.loads(pickle.dumps(reader))}, workers)) as batches:
            parts = list(batches.read("clips", plan))
        return {
            int(index): row
            for part in parts
            for index, row in zip(part["index"], part["waveform"].numpy(), strict=True)
        }

    plain, made, kept = waveforms(None, 2.0), waveforms(cache, 2.0), waveforms(cache, 2.0)
    for index, waveform in plain.items():
        np.testing.assert_array_equal(made[index], kept[index])
        np.testing.assert_allclose(made[index], waveform, atol=STEP)
    # Cuts are drawn alike; they begin at a sample of the rate rather than at one of the file.
    plain, cached = waveforms(None, 0.6), waveforms(cache, 0.6)
    for index, waveform in plain.items():
        assert len(cached[index]) == len(waveform) == 4800
        assert np.corrcoef(cached[index][100:-100], waveform[100:-100])[0, 1] > 0.95


def test_what_is_not_ours_is_not_touched(tmp_path):
    root = tmp_path / "Documents"
    for name in ("ab/thesis.txt", "ab/thesis.part", "my/thesis.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("do not lose me")
        os.utime(root / name, (0, 0))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / f"{'c' * 32}.flac").touch()
    (root / "cc").symlink_to(tmp_path / "other")
    SoundCache(root, 1000).close()
    assert all((root / name).is_file() for name in ("ab/thesis.txt", "ab/thesis.part", "my/thesis.txt"))
    assert (tmp_path / "other" / f"{'c' * 32}.flac").is_file()


def test_a_ledger_deletes_nothing_outside(tmp_path):
    (tmp_path / "precious.flac").write_text("do not lose me")
    SoundCache(tmp_path / "sounds", 1000).close()
    with sqlite3.connect(tmp_path / "sounds" / "ledger.sqlite") as ledger:
        ledger.execute("INSERT INTO entries VALUES ('x', '../../precious.flac', 5000, 0)")
    ledger.close()
    with pytest.raises(StoreError, match="none of its own"):
        SoundCache(tmp_path / "sounds", 1000)
    assert (tmp_path / "precious.flac").is_file()
