"""A damaged store: what is reported, what is made whole, and that no damage is more than an error of ours."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiotag.continual.store import ClipStore, Payload, StoreView
from audiotag.errors import AudiotagError, AudiotagWarning, StoreError

CLASSES = ["dog", "rain", "bell"]
NONSENSE = (
    "NULL", "-1", "3", "'x'", "''", "x'00ff'", "1e400", "9223372036854775807", "'[]'", "'{}'", "'null'", "'NaN'",
    "'1e999'", "'{\"policy\": 3}'", "'[[[[1'", "'" + "[" * 3000 + "'", "'" + "9" * 5000 + "'", "'../../x'", "2.5",
    "'[\"offer\", 1, 2]'", "'[\"observe\", [99], 1]'", "'\"\"'", "'true'",
)  # fmt: skip


def embedding(value: float) -> Payload:
    return Payload.from_embedding(np.full(8, value, dtype=np.float32))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with everything in it: clips of both kinds, a journal, notes."""
    home = tmp_path_factory.mktemp("damage")
    soundfile.write(home / "a.wav", np.zeros(80), 8000)
    with ClipStore.create(home / "store", CLASSES, capacity=5) as store:
        for number in range(9):
            store.add(f"clip{number}", embedding(number), [CLASSES[number % 3]], notes={"at": number})
        store.add("sound", Payload.from_file(home / "a.wav"), ["dog", "bell"])
        store.observe(["rain"], 3)
    return home / "store"


def damage_by_sql(store: Path, rng: random.Random) -> str:
    database = sqlite3.connect(store / "store.sqlite3", isolation_level=None)
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute("PRAGMA writable_schema = ON")
    database.text_factory = bytes
    tables = ["settings", "head", "classes", "clips", "clip_classes", "journal", "snapshot", "notes"]
    while True:
        table = rng.choice(tables)
        columns = [row[1].decode() for row in database.execute(f"PRAGMA table_info({table})")]
        keys = f"(SELECT {columns[0]} FROM {table} LIMIT 1 OFFSET {rng.randrange(9)})" if columns else "1"
        statement = rng.choice(
            [
                f"UPDATE {table} SET {rng.choice(columns)} = {rng.choice(NONSENSE)} WHERE {columns[0]} = {keys}",
                f"UPDATE {table} SET {rng.choice(columns)} = {rng.choice(NONSENSE)} WHERE {columns[0]} = {keys}",
                f"UPDATE {table} SET {rng.choice(columns)} = {rng.choice(NONSENSE)}",
                f"DELETE FROM {table} WHERE {columns[0]} = {keys}",
                f"DELETE FROM {table}",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table} RENAME COLUMN {rng.choice(columns)} TO other",
            ]
        )
        try:
            database.execute(statement)
        except sqlite3.Error:
            continue
        database.close()
        return statement[:200]


def damage_by_bytes(store: Path, rng: random.Random) -> str:
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    path = rng.choice([store / "store.sqlite3", rng.choice(files)])
    content = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "zero", "cut", "noise"])
    start = rng.randrange(len(content))
    length = rng.choice([1, 16, 400, 5000])
    if kind == "cut":
        del content[start:]
    else:
        for place in range(start, min(start + length, len(content))):
            content[place] = {"flip": content[place] ^ 1 << rng.randrange(8), "zero": 0, "noise": rng.randrange(256)}[
                kind
            ]
    path.write_bytes(bytes(content))
    return f"{kind} {path.name} {start} {length}"


def survive(store: Path, damage: str) -> None:
    """Use a damaged store in every way; only errors of ours may come, and none from `verify` once it is open."""
    try:
        with StoreView(store) as view:
            found = view.verify()
            for use in (view.clips, view.statistics, view.embeddings, lambda: view.note("at"), lambda: view.labels):
                try:
                    use()
                except AudiotagError:
                    assert found.problems, f"{damage}: unnoticed by verify"
            try:
                view.export(store.parent / "export")
            except AudiotagError:
                assert found.problems, f"{damage}: unnoticed by verify"
    except StoreError:
        pass
    try:
        ClipStore.repair(store)
    except AudiotagError:
        return
    with ClipStore(store) as again:
        assert again.verify().problems == (), damage
        again.add("after", embedding(7), ["dog"] if "dog" in again.labels else [again.labels.names[0]])
        assert again.verify().problems == (), damage


@pytest.mark.parametrize("damage", [damage_by_sql, damage_by_bytes])
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_no_damage_is_an_exception(whole: Path, tmp_path: Path, damage: Callable, count: int) -> None:
    rng = random.Random(count)
    for number in range(count):
        home = tmp_path / str(number)
        shutil.copytree(whole, home / "store")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # files that a damaged index no longer knows
            survive(home / "store", damage(home / "store", rng))
        shutil.rmtree(home)


@pytest.mark.parametrize("key", ["capacity", "capacity_bytes", "format", "seed"])
@pytest.mark.parametrize("value", ["3", "'3'", f"'{'9' * 5000}'", "'²'", "'-1'", "'1e999'"])
def test_no_damaged_setting_is_an_exception(whole: Path, tmp_path: Path, key: str, value: str) -> None:
    store = shutil.copytree(whole, tmp_path / "store")
    with closing(sqlite3.connect(store / "store.sqlite3", isolation_level=None)) as database:
        database.execute(f"UPDATE settings SET value = {value} WHERE key = '{key}'")
    survive(store, f"{key} = {value}")


def test_repair_raises_bounds_below_what_is_stored(whole: Path, tmp_path: Path) -> None:
    store = shutil.copytree(whole, tmp_path / "store")
    with closing(sqlite3.connect(store / "store.sqlite3", isolation_level=None)) as database:
        database.execute("UPDATE settings SET value = '3' WHERE key IN ('capacity', 'capacity_bytes')")
    with StoreView(store) as view:
        before = [clip.id for clip in view.clips()]
    report = ClipStore.repair(store)
    assert [line for line in report if "raised" in line] == [
        "the setting capacity is 3, and 5 are there; it is raised",
        "the setting capacity_bytes is 3, and 800 are there; it is raised",
    ]
    with ClipStore(store) as again:
        assert [clip.id for clip in again.clips()] == before and again.verify().ok


@pytest.mark.filterwarnings("ignore::audiotag.errors.AudiotagWarning")  # another version is a word, and no error
@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_damaged_export_is_an_exception(whole: Path, tmp_path: Path, count: int) -> None:
    with StoreView(whole) as view:
        export = view.export(tmp_path / "export")
    text = (export / "store.json").read_text()
    rng = random.Random(1)
    nonsense = [None, -1, True, 1.5, 10**30, "x", "", [], {}, [[1]], float("nan"), float("inf"), "../x", {"a": 1}]
    refused = 0
    for number in range(count):
        content = json.loads(text)
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = rng.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            if isinstance(place, dict) and rng.random() < 0.2:
                del place[key]
            else:
                place[key] = rng.choice(nonsense)
            break
        damaged = json.dumps(content)
        if rng.random() < 0.1:
            damaged = damaged[: rng.randrange(len(damaged))]
        (export / "store.json").write_text(damaged)
        try:
            with ClipStore.from_export(export, tmp_path / f"twin{number}") as twin:
                assert twin.verify().ok
                twin.add("after", embedding(7), ["dog"])
        except AudiotagError:
            refused += 1
    assert refused > count / 3


@pytest.mark.parametrize("count", [200, pytest.param(3000, marks=pytest.mark.slow)])
def test_no_damaged_embedding_is_an_exception(whole: Path, tmp_path: Path, count: int) -> None:
    rng = random.Random(2)
    shutil.copytree(whole, tmp_path / "store")
    with StoreView(tmp_path / "store") as view:
        clip = next(clip for clip in view if clip.kind == "embedding")
        content, value = clip.path.read_bytes(), clip.embedding()
        for _ in range(count):
            damaged = bytearray(content)
            for _ in range(rng.choice([1, 1, 4, 40])):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            clip.path.write_bytes(bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])]))
            try:
                array = clip.embedding()
            except StoreError:
                continue
            assert array.nbytes <= value.nbytes


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


def sql(store: Path, *statements: str) -> None:
    database = sqlite3.connect(store / "store.sqlite3", isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def test_a_repaired_store_has_what_was_left(store: Path) -> None:
    with StoreView(store) as view:
        before = {clip.id: (clip.labels, clip.sha256) for clip in view}
        observed = view.statistics().observed.tolist()
        gone, lost = list(view)[:2]
    gone.path.unlink()
    sql(
        store,
        f"UPDATE clips SET sha256 = 'nonsense' WHERE id = '{lost.id}'",
        "UPDATE classes SET stored = 77",
        "DELETE FROM journal",
        "UPDATE notes SET value = '{'",
        "UPDATE settings SET value = '\"many\"' WHERE key = 'seed'",
    )
    with StoreView(store) as view:
        assert len(view.verify().problems) >= 5
    report = ClipStore.repair(store)
    assert [any(word in line for line in report) for word in (gone.id, lost.id, "note", "seed", "policy")] == [True] * 5
    with ClipStore(store) as again:
        assert again.verify().ok
        kept = {clip.id: (clip.labels, clip.sha256) for clip in again}
        assert kept == {key: value for key, value in before.items() if key not in (gone.id, lost.id)}
        assert again.statistics().observed.tolist() == observed and again.offers == 10
        assert again.add("new", embedding(1), ["dog"]).stored
        assert again.verify().ok
    kept_back = sorted(path.name for path in (store / "quarantine").rglob("*") if path.is_file())
    assert "store.sqlite3" in kept_back and lost.path.name in kept_back
    assert ClipStore.repair(store) == []


@pytest.mark.parametrize("count", ["files", "offers", "operations", "bytes"])
def test_a_count_that_no_store_reaches_is_damage_and_repaired(store: Path, count: str) -> None:
    sql(store, f"UPDATE head SET {count} = {2**62 if count == 'offers' else 10**15 - 1}")
    with StoreView(store) as view:
        assert "the counts are damaged" in str(view.verify().problems)
    assert ClipStore.repair(store)
    with ClipStore(store) as again:
        assert again.verify().ok
        again.add("another", embedding(1), ["rain"])


def test_files_come_back_from_quarantine_with_the_newer_index(store: Path) -> None:
    newer = (store / "store.sqlite3").read_bytes()
    sql(store, "DELETE FROM clip_classes", "DELETE FROM clips", "DELETE FROM journal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        ClipStore.repair(store)
    with StoreView(store) as view:
        assert len(view) == 0 and len(view.verify().quarantined) == 5 + 1
    for ending in ("", "-wal", "-shm"):
        (store / f"store.sqlite3{ending}").unlink(missing_ok=True)
    (store / "store.sqlite3").write_bytes(newer)
    ClipStore.repair(store)
    with StoreView(store) as view:
        assert len(view) == 5 and view.verify().ok


@pytest.fixture
def card(store: Path, tmp_path: Path) -> Iterator[Path]:
    """The store on a card that cannot be written."""
    place = tmp_path / "card"
    place.mkdir()
    try:
        mounted = subprocess.run(["mount", "--bind", "-o", "ro", str(store.parent), str(place)], capture_output=True)
        mounted = (
            mounted.returncode
            or subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], capture_output=True).returncode
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted:
        pytest.skip("a read-only disk can only be mounted as root")
    yield place / "store"
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("log", [False, True])
def test_a_read_only_store_is_listed_verified_and_exported(
    store: Path, tmp_path: Path, request: pytest.FixtureRequest, log: bool
) -> None:
    if log:  # as a killed process leaves it: the last changes are in the log only
        writer = ClipStore(store)
        writer.observe(["bell"], notes={"last": 1})
        (tmp_path / "kept").mkdir()
        for ending in ("", "-wal"):
            shutil.copy(store / f"store.sqlite3{ending}", tmp_path / "kept")
        writer.close()
        for path in (tmp_path / "kept").iterdir():
            shutil.copy(path, store)
        (store / "store.sqlite3-shm").unlink(missing_ok=True)
    card = request.getfixturevalue("card")
    with StoreView(card) as view:
        assert len(view) == 5 and view.note("last") == (1 if log else None)
        assert view.verify().ok
        view.export(tmp_path / "export")
        with pytest.raises(StoreError, match="cannot be written"):
            ClipStore.repair(card)
    with ClipStore.from_export(tmp_path / "export", tmp_path / "twin") as twin:
        assert len(twin) == 5 and twin.verify().ok
    with pytest.raises(StoreError, match="permissions"):
        ClipStore(card)


def test_a_store_whose_policy_is_gone_is_listed_verified_and_exported(store: Path, tmp_path: Path) -> None:
    sql(
        store,
        "UPDATE settings SET value = '\"gone\"' WHERE key = 'policy'",
        "UPDATE settings SET value = '\"audiotag-gone\"' WHERE key = 'plugin'",
        "DELETE FROM settings WHERE key = 'plugin_version'",
        "UPDATE snapshot SET state = replace(state, '\"class_balanced\"', '\"gone\"')",
    )
    with StoreView(store) as view:
        assert len(view.clips()) == 5
        (problem,) = view.verify().problems
        assert "pip install audiotag-gone" in problem and "'gone'" in problem
        export = view.export(tmp_path / "export")
    with pytest.raises(StoreError, match="pip install audiotag-gone"):
        ClipStore(store)
    with pytest.raises(StoreError, match="pip install audiotag-gone"):
        ClipStore.from_export(export, tmp_path / "twin")
    whole = (export / "store.json").read_text()
    (export / "store.json").write_text(whole.replace('"gone"', '"class_balanced"'))  # the plugin is back
    with ClipStore.from_export(export, tmp_path / "twin") as twin:
        assert twin.verify().ok and len(twin) == 5 and twin.offers == 10


def test_a_store_knows_the_plugin_of_its_policy(store: Path) -> None:
    with StoreView(store) as view:
        export = view.export(store.parent / "export")
    facts = json.loads((export / "store.json").read_text())
    assert (facts["plugin"], facts["plugin_version"]) == ("audiotag", version("audiotag"))


def test_another_version_of_the_policy_is_said_until_the_state_is_by_it(tmp_path, install_plugin, monkeypatch) -> None:
    source = (
        "from audiotag.plugin import SamplingPolicySpec, hookimpl\n@hookimpl\ndef register_sampling_policies():\n"
        "    factory = 'audiotag.continual.policies.reservoir:Reservoir'\n"
        "    return [SamplingPolicySpec(name='lent', role='storage', factory=factory)]"
    )

    def installed(release: str) -> None:
        for folder in (tmp_path / "site-packages").glob("audiotag_lender*.dist-info"):
            shutil.rmtree(folder)
        install_plugin("audiotag-lender", source, entry="lender", version=release)

    installed("1.0")
    with ClipStore.create(tmp_path / "lent", ["dog", "cat"], policy="lent", capacity=3) as store:
        store.add("0", embedding(0), ["dog"])
        export = store.export(tmp_path / "export")
    ClipStore(tmp_path / "lent").close()  # warnings are errors here
    installed("2.0")
    told = r"the state of its policy is by audiotag-lender 1\.0, and audiotag-lender 2\.0 is installed: it may choose"
    with pytest.warns(AudiotagWarning, match=told):
        ClipStore.from_export(export, tmp_path / "twin").close()
    with pytest.warns(AudiotagWarning, match=told):
        store = ClipStore(tmp_path / "lent")
    monkeypatch.setattr("audiotag.continual.store.journal._MOST_ENTRIES", 1)
    store.add("1", embedding(1), ["cat"])
    store.close()
    with ClipStore(tmp_path / "lent") as store:
        assert len(store) == 2 and store.verify().ok
