"""The store on disk: what it keeps, what it refuses, and that nothing gets lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.continual.create import create_policy
from audiotag.continual.policy import Example
from audiotag.continual.store import ClipStore, Payload, StoreView
from audiotag.data.reading import read_clips
from audiotag.errors import AudioError, LabelError, OptionError, StoreError, UnknownNameError
from audiotag.labels import Label, LabelSet

CLASSES = ["dog", "rain", "bell"]
HARNESS = Path(__file__).with_name("kill_harness.py")


def embedding(value: float, size: int = 8) -> Payload:
    return Payload.from_embedding(np.full(size, value, dtype=np.float32))


def tone(path: Path, seconds: float = 0.3, rate: int = 16000, channels: int = 1) -> Path:
    time = np.arange(int(seconds * rate)) / rate
    soundfile.write(path, np.tile(0.3 * np.sin(2 * np.pi * 440 * time)[:, None], (1, channels)), rate)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    with ClipStore.create(tmp_path / "store", CLASSES, capacity=5) as made:
        yield made


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "files").rglob("*") if path.is_file())


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    recording = tone(tmp_path / "a b ü.wav", channels=2)
    with ClipStore.create(tmp_path / "store", CLASSES, capacity=5) as store:
        first = store.add("a", Payload.from_file(recording), ["rain", "dog"], source=str(recording))
        store.add("b", Payload.from_embedding(np.arange(6.0).reshape(2, 3)), ["bell"])
        assert first.stored and first.evicted == () and first.reason == "there was room"
    with StoreView(tmp_path / "store") as view:
        assert len(view) == 2 and "a" in view and "c" not in view
        audio, array = view
        assert audio.labels == (0, 1) and audio.source == str(recording) and audio.kind == "audio"
        assert audio.path.read_bytes() == recording.read_bytes() and audio.bytes == recording.stat().st_size
        assert np.array_equal(array.embedding(), np.arange(6.0).reshape(2, 3))
        assert [clip.id for clip in view.clips("bell")] == ["b"]
        assert [clip.id for clip in view.clip_set()] == ["a"] and view.clip_set().targets().tolist() == [[1, 1, 0]]
        ids, arrays, targets = view.embeddings()
        assert ids == ["b"] and arrays.shape == (1, 2, 3) and targets.tolist() == [[0, 0, 1]]
        with pytest.raises(StoreError, match="audio"):
            audio.embedding()
        with pytest.raises(StoreError, match="zebra"):
            view.clip("zebra")


def test_parts_and_waveforms_are_kept_as_sound(tmp_path: Path) -> None:
    recording = tone(tmp_path / "long.wav", seconds=1.0)
    part = Payload.from_file(recording, start=0.25, stop=0.5)
    with ClipStore.create(tmp_path / "store", CLASSES, capacity=5) as store:
        store.add("part", part, ["dog"])
        store.add("loud", Payload.from_waveform(np.array([0.5, -3.0, 2.0], dtype=np.float32), 8000), ["dog"])
        whole, _ = soundfile.read(recording)
        cut, rate = soundfile.read(store.clip("part").path)
        assert rate == 16000 and np.abs(cut - whole[4000:8000]).max() < 1e-4
        loud, _ = soundfile.read(store.clip("loud").path)
        assert np.array_equal(loud, [0.5, -3.0, 2.0])
    with pytest.raises(AudioError):
        Payload.from_waveform(np.array([np.nan], dtype=np.float32), 8000)
    with pytest.raises(AudioError, match="shape"):
        Payload.from_waveform(np.zeros((2, 10, 2), dtype=np.float32), 8000)
    with pytest.raises(OptionError, match="rate"):
        Payload.from_waveform(np.zeros(10, dtype=np.float32), float("nan"))
    stereo = Payload.from_waveform(np.full((100, 2), [0.5, 0.25], dtype=np.float32), 8000)
    assert stereo.content == Payload.from_waveform(np.full(100, 0.375, dtype=np.float32), 8000).content
    with pytest.raises(OptionError):
        Payload.from_embedding(np.array(["text"]))
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        Payload.from_file(text)


@pytest.mark.parametrize(
    "name", ["reservoir", "class_balanced", "partitioning", "distribution_matching", "fifo", "none"]
)
def test_it_keeps_what_the_policy_keeps_also_after_reopening(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    policy = create_policy(name, 6, 3, seed=9)
    ClipStore.create(tmp_path / "store", CLASSES, policy=name, capacity=6, seed=9).close()
    for start in range(0, 60, 15):
        with ClipStore(tmp_path / "store") as store:
            for number in range(start, start + 15):
                labels = tuple(sorted(rng.choice(3, size=rng.integers(1, 3), replace=False).tolist()))
                expected = policy.offer(Example(f"clip{number}", labels))
                done = store.add(f"clip{number}", embedding(number), [CLASSES[label] for label in labels])
                assert done.stored == expected.stored
                assert done.evicted == (() if expected.evicted is None else (expected.evicted,))
                assert done.operation == number + 1
    with ClipStore(tmp_path / "store") as store:
        assert {clip.id for clip in store} == set(policy.ids)
        assert all(clip.embedding()[0] == float(clip.id.removeprefix("clip")) for clip in store)
        statistics = store.statistics()
        assert statistics.stored.tolist() == policy.counts.tolist()
        assert statistics.observed.tolist() == policy.observed.tolist()
        assert statistics.offers == store.offers == 60
        assert store.verify().problems == ()
        assert len(files_of(store.folder)) == len(policy)


def test_the_journal_gives_way_to_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr("audiotag.continual.store.journal._MOST_ENTRIES", 40)
    policy = create_policy("class_balanced", 4, 3)
    with ClipStore.create(tmp_path / "store", CLASSES, capacity=4) as store, ClipStore(tmp_path / "store") as other:
        for number in range(4):
            store.add(str(number), embedding(number), [CLASSES[number % 3]])
            policy.offer(Example(str(number), (number % 3,)))
        for _ in range(90):
            store.observe(["dog"])
        policy.observe((0,), 90)
        for number in range(4, 30):
            done = other.add(str(number), embedding(number), ["bell"])
            assert done.stored == policy.offer(Example(str(number), (2,))).stored
        assert {clip.id for clip in store} == set(policy.ids)
        assert store.verify().ok
    database = sqlite3.connect(tmp_path / "store" / "store.sqlite3")
    (entries,) = database.execute("SELECT count(*) FROM journal").fetchone()
    database.close()
    assert entries < 40


def test_two_users_in_turns_make_the_decisions_of_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    policy = create_policy("class_balanced", 5, 3, seed=1)
    ClipStore.create(tmp_path / "store", CLASSES, capacity=5, seed=1).close()
    with ClipStore(tmp_path / "store") as one, ClipStore(tmp_path / "store") as two:
        for number in range(80):
            label = int(rng.choice(3, p=[0.7, 0.2, 0.1]))
            done = (one, two)[int(rng.integers(2))].add(f"clip{number}", embedding(number), [CLASSES[label]])
            assert done.stored == policy.offer(Example(f"clip{number}", (label,))).stored
        one.extend_labels([*CLASSES, "frog"])
        two.add("frog", embedding(0), ["frog"])
        two.remove("frog")
        assert len(one.labels) == len(two.labels) == 4
        assert {clip.id for clip in one} == {clip.id for clip in two} <= set(policy.ids)
        assert one.verify().ok and two.verify().ok


ADD_MANY = """
import os, sys
import numpy as np
from audiotag.continual.store import ClipStore, Payload
name = "x" if os.fork() else "y"
with ClipStore(sys.argv[1]) as store:
    for number in range(40):
        store.add(f"{name}{number}", Payload.from_embedding(np.zeros(50)), [["dog", "rain", "bell"][number % 3]])
if name == "x":
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    ClipStore.create(folder, CLASSES, capacity=7).close()
    subprocess.run([sys.executable, "-c", ADD_MANY, str(folder)], check=True, timeout=120)
    with ClipStore(folder) as store:
        assert store.offers == 80 and len(store) == 7 == len(files_of(folder))
        assert store.verify().ok
        assert store.statistics().observed.sum() == 80


def test_who_waits_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr("audiotag.continual.store.database._PATIENCE_SECONDS", 0.05)
    ClipStore.create(tmp_path / "store", CLASSES, capacity=5).close()
    other = sqlite3.connect(tmp_path / "store" / "store.sqlite3", isolation_level=None)
    with ClipStore(tmp_path / "store") as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="Another process"):
            store.add("a", embedding(1), ["dog"])
        other.execute("ROLLBACK")
        assert store.add("a", embedding(1), ["dog"]).stored
    other.close()


def run_harness(folder: Path, *arguments: int | str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HARNESS), str(folder), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    assert run_harness(tmp_path / "store", "time", 20, 1).startswith("20 kills")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_chosen_steps_of_an_offer(tmp_path: Path) -> None:
    assert run_harness(tmp_path / "store", "steps", 18, 78).startswith("60 kills")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_hundreds_of_times(tmp_path: Path) -> None:
    assert run_harness(tmp_path / "random", "time", 300, 2).startswith("300 kills")
    assert run_harness(tmp_path / "steps", "steps", 1, 300).startswith("299 kills")


def kill_commands(*arguments: str | int) -> str:
    done = subprocess.run(
        [sys.executable, str(HARNESS.parents[2] / "benchmarks" / "kills.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_command_loses_nothing() -> None:
    assert "store-add: 2 kills, nothing lost" in kill_commands("store-add", "--count", 2, "--fork")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_commands_killed_at_random_moments_lose_nothing() -> None:
    subjects = ("store-add", "store-export", "online", "infer", "finetune", "download")
    assert kill_commands(*subjects, "--count", 7, "--seed", 1, "--fork").count("7 kills, nothing lost") == len(subjects)


def fill_up(store: ClipStore) -> int:
    """Add clips until the disk is full; returns how many went in."""
    for number in range(1000):
        try:
            store.add(f"clip{number}", Payload.from_embedding(np.full(2500, number, dtype=np.float64)), ["dog"])
        except StoreError as error:
            assert "space" in str(error)
            return number
    pytest.fail("the disk did not fill up")


@pytest.fixture
def small_disk(tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(folder)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted as root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 200_000)
    with ClipStore.create(small_disk / "store", CLASSES, policy="fifo", capacity=1000) as store:
        count = fill_up(store)
        assert count > 5
        assert all("belongs to no clip" in problem for problem in store.verify().problems)
        assert len(store) == store.offers == count
        assert all(clip.embedding()[0] == float(clip.id.removeprefix("clip")) for clip in store)
        ballast.unlink()
        assert store.add("later", embedding(1), ["rain"]).stored
        assert store.verify().ok and len(store) == count + 1
    with ClipStore(small_disk / "store") as store:
        assert store.verify().ok and "later" in store


def test_a_clip_that_cannot_be_written_changes_nothing(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = create_policy("class_balanced", 5, 3)
    for number in range(30):
        labels = (number % 2,)
        if number % 7 == 3:

            def full(descriptor: int) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            before = store.statistics().to_dict()
            with monkeypatch.context() as patch, pytest.raises(StoreError, match="No space left"):
                patch.setattr(os, "fsync", full)
                for attempt in range(50):  # until the policy wants to store one
                    store.add(f"lost{number}.{attempt}", embedding(number), [CLASSES[labels[0]]])
                    policy.offer(Example(f"lost{number}.{attempt}", labels))
                    before = store.statistics().to_dict()
            assert store.statistics().to_dict() == before
        done = store.add(f"clip{number}", embedding(number), [CLASSES[labels[0]]])
        assert done.stored == policy.offer(Example(f"clip{number}", labels)).stored
    assert {clip.id for clip in store} == set(policy.ids)
    assert store.verify().ok


def test_leftovers_of_a_killed_change_are_swept(tmp_path: Path) -> None:
    with ClipStore.create(tmp_path / "store", CLASSES, capacity=5) as store:
        store.add("a", embedding(1), ["dog"])
    folder = tmp_path / "store" / "files" / "000000"
    (folder / "000000007.npy").write_bytes(b"never named")
    (folder / ".000000007.npy.part").touch()
    (folder / ".000000001.npy.part").touch()  # the index names this one: it is not a leftover
    with StoreView(tmp_path / "store") as view:
        assert view.verify().problems == (
            "the file 000000/000000007.npy belongs to no clip of this index (the next change moves it to quarantine)",
        )
    with ClipStore(tmp_path / "store") as store:
        assert files_of(store.folder) == ["000000001.npy"]
        assert store.verify().ok and store.verify().quarantined == ()


def test_what_an_older_index_does_not_know_is_kept(tmp_path: Path) -> None:
    """As when a store is copied without its write-ahead log after a kill: the files are those of newer clips."""
    folder = tmp_path / "store"
    ClipStore.create(folder, CLASSES, capacity=50).close()
    older = (folder / "store.sqlite3").read_bytes()
    with ClipStore(folder) as store:
        for number in range(40):
            store.add(f"clip{number}", embedding(number), ["dog"])
        contents = sorted(clip.path.read_bytes() for clip in store)
    (folder / "store.sqlite3").write_bytes(older)
    for ending in ("-wal", "-shm"):
        (folder / f"store.sqlite3{ending}").unlink(missing_ok=True)
    with pytest.warns(RuntimeWarning, match="40 files are unknown to the index"), ClipStore(folder) as store:
        store.add("new", embedding(99), ["rain"])
        assert files_of(folder) == ["000000001.npy"]
        found = store.verify()
        assert found.ok and len(found.quarantined) == 40
    assert sorted((folder / "quarantine" / name).read_bytes() for name in found.quarantined) == contents


def test_verify_finds_what_is_wrong(store: ClipStore) -> None:
    for number in range(3):
        store.add(f"clip{number}", embedding(number), ["dog"])
    gone, short, changed = (store.clip(f"clip{number}").path for number in range(3))
    gone.unlink()
    short.write_bytes(b"x")
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    problems = store.verify().problems
    assert len(problems) == 3
    assert [any(f"clip{number}" in problem for problem in problems) for number in range(3)] == [True] * 3
    assert len(store.verify(deep=False).problems) == 2


def test_wrong_calls_are_refused_and_change_nothing(store: ClipStore) -> None:
    store.add("a", embedding(1), ["dog"])
    before = store.statistics().to_dict()
    for action, kind, message in [
        (lambda: store.add("a", embedding(1), ["dog"]), OptionError, "stored already"),
        (lambda: store.add("b", embedding(1), []), OptionError, "no label"),
        (lambda: store.add("b", embedding(1), ["dgo"]), LabelError, "'dog'"),
        (lambda: store.add("b", embedding(1), "dog"), OptionError, "list of classes"),
        (lambda: store.add("", embedding(1), ["dog"]), OptionError, "empty id"),
        (lambda: store.remove("z"), StoreError, "z"),
        (lambda: store.observe(["cat"]), LabelError, "cat"),
        (lambda: store.resize(), OptionError, "no bound"),
        (lambda: store.resize(capacity=-1), OptionError, "-1"),
    ]:
        with pytest.raises(kind, match=message):
            action()
    assert store.statistics().to_dict() == before
    assert store.verify().ok


def test_making_and_opening_refuse_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="store init"):
        ClipStore(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="no bound"):
        ClipStore.create(tmp_path / "s", CLASSES)
    with pytest.raises(OptionError, match="bytes"):
        ClipStore.create(tmp_path / "s", CLASSES, capacity_bytes=0)
    with pytest.raises(UnknownNameError, match="fifo"):
        ClipStore.create(tmp_path / "s", CLASSES, capacity=3, policy="fif")
    with pytest.raises(OptionError, match="replace_prob"):
        ClipStore.create(
            tmp_path / "s", CLASSES, capacity=3, policy="distribution_matching", options={"replace_prob": 2.0}
        )
    assert not list(tmp_path.iterdir())
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "store.sqlite3").write_bytes(b"this is no database at all, whatever its name")
    with pytest.raises(StoreError, match="not a database"):
        ClipStore(tmp_path / "s")
    with pytest.raises(StoreError, match="here already"):
        ClipStore.create(tmp_path / "s", CLASSES, capacity=3)


def test_capacity_in_bytes_with_equal_clips_is_the_policy_itself(tmp_path: Path) -> None:
    size = embedding(0).size
    policy = create_policy("class_balanced", 6, 3, seed=2)
    rng = np.random.default_rng(2)
    with ClipStore.create(tmp_path / "store", CLASSES, capacity_bytes=6 * size + 5, seed=2) as store:
        for number in range(60):
            label = int(rng.choice(3, p=[0.8, 0.15, 0.05]))
            done = store.add(f"clip{number}", embedding(number), [CLASSES[label]])
            expected = policy.offer(Example(f"clip{number}", (label,)))
            assert (done.stored, done.evicted) == (expected.stored, (expected.evicted,) if expected.evicted else ())
        assert store.verify().ok and store.statistics().capacity is None


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    name=st.sampled_from(["reservoir", "class_balanced", "partitioning", "distribution_matching", "fifo", "none"]),
    most=st.one_of(st.none(), st.integers(0, 6)),
)
def test_capacity_in_bytes_is_never_exceeded(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], name: str, most: int | None
) -> None:
    folder = tmp_path_factory.mktemp("bytes") / "store"
    with ClipStore.create(folder, CLASSES, policy=name, capacity=most, capacity_bytes=4000) as store:
        for number, size in enumerate(sizes):
            before = {clip.id for clip in store}
            done = store.add(f"clip{number}", embedding(0, size // 4 + 1), [CLASSES[number % 3]])
            after = {clip.id for clip in store}
            assert after == (before - set(done.evicted)) | ({f"clip{number}"} if done.stored else set())
            assert sum(clip.bytes for clip in store) <= 4000
        assert store.verify().ok
        if name != "none":
            store.resize(capacity_bytes=1000)
            assert sum(clip.bytes for clip in store) <= 1000
            assert store.verify().ok
        with pytest.raises(OptionError, match="may hold"):
            store.add("big", embedding(0, 2000), ["dog"])


def test_resizing_lets_the_policy_choose(tmp_path: Path) -> None:
    with ClipStore.create(tmp_path / "store", CLASSES, policy="fifo", capacity=6) as store:
        for number in range(6):
            store.add(f"clip{number}", embedding(number), ["dog"])
        assert store.resize(capacity=2) == ("clip0", "clip1", "clip2", "clip3")
        assert len(files_of(store.folder)) == 2
        assert store.resize(capacity=3) == ()
        assert store.add("new", embedding(1), ["dog"]).evicted == ()
    with ClipStore(tmp_path / "store") as store:
        assert store.statistics().capacity == 3
        assert store.add("newer", embedding(1), ["dog"]).evicted == ("clip4",)


def test_classes_grow_by_mid(tmp_path: Path) -> None:
    old = LabelSet([Label("/m/1", "Dog"), Label("/m/2", "Rain")])
    new = LabelSet([Label("/m/3", "Bell"), Label("/m/2", "Rain, heavy"), Label("/m/1", "Dog")])
    with ClipStore.create(tmp_path / "store", old, capacity=5) as store:
        store.add("a", embedding(1), ["/m/2"])
        change = store.extend_labels(new)
        assert change.added == ("/m/3",) and change.dropped == () and len(change.kept) == 2
        assert store.labels.mids == ("/m/1", "/m/2", "/m/3")
        assert store.clip("a").labels == (1,)
        store.add("b", embedding(1), ["Bell", "Dog"])
        assert store.extend_labels(new).added == ()
    with ClipStore(tmp_path / "store") as store:
        assert store.clip("b").labels == (0, 2)
        assert store.verify().ok


def test_notes_are_kept_with_the_change_or_not_at_all(store: ClipStore) -> None:
    store.add("a", embedding(1), ["dog"], notes={"position": 17, "file": "ü"})
    assert store.note("position") == 17 and store.note("file") == "ü" and store.note("other") is None
    with pytest.raises(OptionError):
        store.add("a", embedding(1), ["dog"], notes={"position": 18})
    with pytest.raises(TypeError):
        store.add("b", embedding(1), ["dog"], notes={"position": object()})
    assert store.note("position") == 17 and "b" not in store
    assert store.add("b", embedding(1), ["dog"]).operation == 2
    assert store.verify().ok and len(files_of(store.folder)) == 2


def test_observing_without_offering(store: ClipStore) -> None:
    store.observe(["dog", "rain"], times=4)
    store.add("a", embedding(1), ["bell"], observe=False)
    assert store.statistics().observed.tolist() == [4, 4, 0]
    assert store.offers == 1 and store.verify().ok


def test_samples_come_from_the_generator(store: ClipStore) -> None:
    for number in range(5):
        store.add(f"clip{number}", embedding(number), ["dog"])
    drawn = [clip.id for clip in store.sample(3, np.random.default_rng(1))]
    assert drawn == [clip.id for clip in store.sample(3, np.random.default_rng(1))]
    assert len(set(drawn)) == 3
    assert {clip.id for clip in store.sample(50, np.random.default_rng(1))} == {f"clip{number}" for number in range(5)}


def test_an_export_reads_as_a_manifest_and_becomes_the_same_store(tmp_path: Path) -> None:
    labels = LabelSet([Label("/m/1", "Dog"), Label("/m/2", 'Rain, "heavy"'), Label("/m/3", "Bell")])
    recordings = [tone(tmp_path / f"{number}.flac", seconds=0.1 + 0.01 * number) for number in range(12)]
    store = ClipStore.create(tmp_path / "store", labels, capacity=6, seed=4)
    for number, path in enumerate(recordings):
        store.add(
            f"clip {number}", Payload.from_file(path), ["/m/1", "/m/2"] if number % 2 else ["/m/3"], source=path.name
        )
    store.add("vector", embedding(3), ["Dog"], notes={"position": 12})
    store.resize(capacity=7)
    store.add("vector2", embedding(4), ["Dog"])
    export = store.export(tmp_path / "export")
    clips = read_clips(export / "manifest.json", labels=export / "class_labels_indices.csv")
    assert {clip.id: clip.labels for clip in clips} == {clip.id: clip.labels for clip in store if clip.kind == "audio"}
    assert all(clip.path.read_bytes() == store.clip(clip.id).path.read_bytes() for clip in clips)

    with ClipStore.from_export(export, tmp_path / "twin") as twin, store:
        assert twin.labels == store.labels and twin.note("position") == 12
        assert twin.statistics().to_dict() == store.statistics().to_dict()
        assert twin.verify().ok
        for number in range(40):
            names = [["Dog"], ["Bell"], ["Dog", "Bell"]][number % 3]
            one, two = (each.add(f"more{number}", embedding(number), names) for each in (store, twin))
            assert (one.stored, one.evicted) == (two.stored, two.evicted)
        assert {clip.id for clip in twin} == {clip.id for clip in store}
        with pytest.raises(StoreError, match="here already"):
            store.export(export)


def test_damaged_exports_are_refused(store: ClipStore, tmp_path: Path) -> None:
    store.add("a", embedding(1), ["dog"])
    export = store.export(tmp_path / "export")
    whole = json.loads((export / "store.json").read_text())
    (export / whole["clips"][0]["file"]).write_bytes(embedding(2).content)
    with pytest.raises(StoreError, match="not the one that was exported"):
        ClipStore.from_export(export, tmp_path / "twin")
    (export / "store.json").write_text("{}")
    with pytest.raises(StoreError, match="not an export"):
        ClipStore.from_export(export, tmp_path / "twin")
    with pytest.raises(StoreError, match="not an export"):
        ClipStore.from_export(tmp_path / "nowhere", tmp_path / "twin")
    assert not (tmp_path / "twin").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_a_changed_policy_is_noticed_and_the_clips_can_still_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audiotag.continual.policies.baselines import Fifo

    with ClipStore.create(tmp_path / "store", CLASSES, policy="fifo", capacity=3) as store:
        for number in range(5):
            store.add(f"clip{number}", embedding(number), ["dog"])
    monkeypatch.setattr(Fifo, "victim", lambda policy: len(policy) - 1)
    with pytest.raises(StoreError, match="decides otherwise"):
        ClipStore(tmp_path / "store")
    with StoreView(tmp_path / "store") as view:
        assert len(view.clips()) == 3
        assert any("cannot be rebuilt" in problem for problem in view.verify().problems)


IN_ANOTHER_PROCESS = """
import multiprocessing, sys
import numpy as np
from audiotag import ClipStore
from audiotag.continual import Payload


def add(store, name):
    store.add(name, Payload.from_embedding(np.zeros(3, np.float32)), ["a"])


def add_inherited(name):
    add(store, name)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    store = ClipStore.create("store", ["a"], capacity=9)
    add(store, "here")
    calls = [(add, (store, "given"))] + [(add_inherited, ("inherited",))] * (sys.argv[1] == "fork")
    for target, arguments in calls:
        process = context.Process(target=target, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == 0
    add(store, "after")
    assert store.verify().ok
    print(*(clip.id for clip in store))
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_store_is_opened_anew_in_another_process(tmp_path, method):
    (tmp_path / "program.py").write_text(IN_ANOTHER_PROCESS)
    command = [sys.executable, "program.py", method]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["here", "given", *["inherited"] * (method == "fork"), "after"], done.stderr
