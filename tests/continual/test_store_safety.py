"""Stores and exports that come from somebody else: nothing in them reaches outside, and no damage is an exception."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.continual.store import ClipStore, Payload, StoreView
from audiotag.errors import StoreError

CLASSES = ["dog", "rain", "bell"]


def embedding(value: float, size: int = 8) -> Payload:
    return Payload.from_embedding(np.full(size, value, dtype=np.float32))


def run(*arguments: object) -> tuple[int, str]:
    """``audiotag store ARGUMENTS…``: (exit code, what it printed); only foreseen failures are raised."""
    done = CliRunner().invoke(main, ["store", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three clips, of which the next one evicts the oldest; beside it, things that are nobody's business."""
    with ClipStore.create(tmp_path / "store", CLASSES, policy="fifo", capacity=3) as made:
        for number in range(4):
            made.add(f"clip{number}", embedding(number), [CLASSES[number % 3]])
    documents = tmp_path / "Documents"
    documents.mkdir()
    (documents / "letter.txt").write_text("Dear")
    (tmp_path / "secret.key").write_text("secret")
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    return tmp_path / "store"


def others(store: Path) -> dict[str, str]:
    """What lies beside the store."""
    home = store.parent
    return {name: (home / name).read_text() for name in ("secret.key", "Documents/letter.txt")}


UNTOUCHED = {"secret.key": "secret", "Documents/letter.txt": "Dear"}


def sql(store: Path, *statements: str) -> None:
    database = sqlite3.connect(store / "store.sqlite3", isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def use(store: Path) -> None:
    """Every verb; foreseen failures are expected."""
    add = ("add", store, store.parent / "a.wav", "--label", "dog")
    for arguments in (
        ("list", store),
        ("stats", store),
        ("verify", store),
        ("export", store, store.parent / "export"),
        add,
        ("verify", store, "--repair"),
        add,
    ):
        with suppress(StoreError):
            run(*arguments)


@pytest.mark.parametrize("place", ["files/zz", "files/000001", "files/000000/zz", "files/000000/000000009.wav"])
def test_a_link_among_the_files_is_not_followed(store: Path, place: str) -> None:
    (store / place).symlink_to(store.parent / "Documents")
    use(store)
    assert others(store) == UNTOUCHED


def test_a_link_in_the_place_of_a_clip_is_not_exported_nor_listed(store: Path) -> None:
    with StoreView(store) as view:
        path = view.clip("clip2").path
    path.unlink()
    path.symlink_to(store.parent / "secret.key")
    with pytest.raises(StoreError, match="a link"):
        run("export", store, store.parent / "export")
    with pytest.raises(StoreError, match="a link"):
        run("list", store)
    code, output = run("verify", store)
    assert code == 1 and "'clip2' is damaged" in output and "a link" in output
    use(store)
    assert others(store) == UNTOUCHED


@pytest.mark.parametrize(
    "name", ["files", "files/000000", "store.sqlite3", "store.sqlite3-wal", "quarantine", "quarantine/000000"]
)
def test_links_in_the_place_of_its_own_parts_are_refused(store: Path, name: str) -> None:
    elsewhere = store.parent / "elsewhere"
    if (store / name).exists():
        (store / name).rename(elsewhere)
    else:
        shutil.copytree(store.parent / "Documents", elsewhere)
        (store / name).parent.mkdir(exist_ok=True)
        (store / "files/000000/stranger").write_text("would be moved to quarantine")
    before = sorted((path, path.stat().st_size) for path in elsewhere.parent.rglob("elsewhere*/**/*"))
    (store / name).symlink_to(elsewhere)
    with pytest.raises(StoreError, match="a link"):
        run("add", store, store.parent / "a.wav", "--label", "dog")
    code, output = run("verify", store)
    assert code == 1 and "a link" in output
    use(store)
    assert sorted((path, path.stat().st_size) for path in elsewhere.parent.rglob("elsewhere*/**/*")) == before
    assert others(store) == UNTOUCHED


@pytest.mark.parametrize(
    "file", ["{}/secret.key", "../../secret.key", "../secret.key", "000000/../../../secret.key", ""]
)
def test_a_name_in_the_index_never_leads_outside(store: Path, file: str) -> None:
    file = file.format(store.parent)
    sql(store, f"UPDATE clips SET file = '{file}', bytes = 6 WHERE id = 'clip1'")  # the next to be evicted
    with pytest.raises(StoreError, match="no store has"):
        run("export", store, store.parent / "export")
    assert not (store.parent / "export").exists()
    with pytest.raises(StoreError, match="no store has"):
        run("add", store, store.parent / "a.wav", "--label", "dog")
    code, output = run("verify", store)
    assert code == 1 and "'clip1' is damaged" in output
    use(store)
    assert others(store) == UNTOUCHED


def test_an_index_that_does_things_by_itself_is_refused(store: Path) -> None:
    sql(store, "CREATE TRIGGER t AFTER INSERT ON clips BEGIN UPDATE clips SET file = '../../secret.key'; END")
    with pytest.raises(StoreError, match="triggers"):
        run("add", store, store.parent / "a.wav", "--label", "dog")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_a_clip_is_not_waited_for(store: Path) -> None:
    with StoreView(store) as view:
        path = view.clip("clip2").path
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="not a regular file"):
        run("export", store, store.parent / "export")
    assert run("verify", store)[0] == 1


def export_of(store: Path) -> tuple[Path, dict]:
    with StoreView(store) as view:
        export = view.export(store.parent / "export")
    return export, json.loads((export / "store.json").read_text())


@pytest.mark.parametrize("file", ["{}/secret.key", "../secret.key", "audio/../../secret.key", "secret.key", "audio/x"])
def test_a_name_in_an_export_never_leads_outside(store: Path, file: str) -> None:
    export, whole = export_of(store)
    whole["clips"][0]["file"] = file.format(store.parent)
    (export / "store.json").write_text(json.dumps(whole))
    with pytest.raises(StoreError, match="not an export"):
        run("init", store.parent / "twin", "--from", export)
    assert not (store.parent / "twin").exists()


@pytest.mark.parametrize("name", ["embeddings", "store.json", "class_labels_indices.csv", "clip"])
def test_links_in_an_export_are_refused(store: Path, name: str) -> None:
    export, whole = export_of(store)
    place = export / (whole["clips"][0]["file"] if name == "clip" else name)
    place.rename(store.parent / "moved")
    place.symlink_to(store.parent / "moved")
    with pytest.raises(StoreError, match="a link"):
        run("init", store.parent / "twin", "--from", export)
    assert not (store.parent / "twin").exists()


def test_an_export_replaces_and_removes_nothing(store: Path) -> None:
    (store.parent / f".export.{os.getpid()}.part").mkdir()
    (store.parent / "taken").symlink_to(store.parent / "Documents")
    run("export", store, store.parent / "export")
    for wrong in ("taken", "Documents", "secret.key", "secret.key/below", "store/inside"):
        with pytest.raises(StoreError):
            run("export", store, store.parent / wrong)
    assert (store.parent / f".export.{os.getpid()}.part").is_dir() and others(store) == UNTOUCHED
