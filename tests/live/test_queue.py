"""The queue on the disk: what it was given comes out in order, within its bound, whatever ends the process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbours import message

from audiotag.errors import OutputError
from audiotag.live import Message
from audiotag.live.outputs.queue import MessageQueue


def waiting(queue: MessageQueue) -> list[str]:
    """Keys of all that wait, which are removed."""
    keys = []
    while (one := queue.first()) is not None:
        keys.append(Message.from_json(one.text).key)
        queue.remove(one.number)
    return keys


def test_messages_come_out_in_order_also_after_a_new_start(tmp_path: Path) -> None:
    queue = MessageQueue(tmp_path / "deep" / "q.sqlite3")
    for number in range(5):
        queue.append(message(number))
    first = queue.first()
    assert first is not None and not first.earlier and len(queue) == 5
    queue.remove(first.number)
    queue.close()
    queue = MessageQueue(tmp_path / "deep" / "q.sqlite3")
    queue.append(message(5))
    found = queue.first()
    assert found is not None and found.earlier
    assert waiting(queue) == [f"e{number}-begin" for number in range(1, 6)]
    assert queue.first() is None and len(queue) == 0
    queue.append(message(6))
    found = queue.first()
    assert found is not None and not found.earlier
    queue.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["begin", "end", "status", "take"]), max_size=60), st.integers(2, 6))
def test_a_full_queue_drops_what_is_missed_least(tmp_path_factory: pytest.TempPathFactory, what, most) -> None:  # type: ignore[no-untyped-def]
    """Against the rule, spelled out: neither the first nor the last; statuses, then begins, then ends; the oldest."""
    queue = MessageQueue(tmp_path_factory.mktemp("queue") / "q.sqlite3", max_messages=most)
    model: list[tuple[int, str]] = []
    dropped = 0
    for number, kind in enumerate(what):
        if kind == "take":
            if model:
                first = queue.first()
                assert first is not None
                queue.remove(first.number)
                model.pop(0)
            continue
        queue.append(message(number, kind))
        model.append((number, kind))
        if len(model) > most:
            model.remove(min(model[1:-1], key=lambda one: (["status", "begin", "end"].index(one[1]), one[0])))
            dropped += 1
        assert len(queue) == len(model)
    assert queue.dropped == dropped
    assert waiting(queue) == [f"e{number}-{kind}" for number, kind in model]
    queue.close()


def test_the_bound_holds_for_bytes_too(tmp_path: Path) -> None:
    size = len(message(100).to_json())
    queue = MessageQueue(tmp_path / "q.sqlite3", max_bytes=5 * size)
    for number in range(100, 400):
        queue.append(message(number))
    assert len(queue) == 5 and queue.dropped == 295
    assert waiting(queue)[-1] == "e399-begin"
    queue.close()
    assert (tmp_path / "q.sqlite3").stat().st_size < 100_000


def test_what_a_full_disk_refuses_is_kept_and_written_later(tmp_path: Path) -> None:
    queue = MessageQueue(tmp_path / "q.sqlite3", max_messages=100)
    queue._database.execute("PRAGMA max_page_count = 3")  # SQLite says "database or disk is full"
    for number in range(60):
        queue.append(message(number))
    assert queue.unsaved > 0 and queue.dropped == 0 and len(queue) == 60
    for number in range(20):
        first = queue.first()
        assert first is not None and f'"e{number}"' in first.text
        queue.remove(first.number)
    queue._database.execute("PRAGMA max_page_count = 1000")
    queue.append(message(60))
    queue.close()
    queue = MessageQueue(tmp_path / "q.sqlite3")
    assert waiting(queue) == [f"e{number}-begin" for number in range(20, 61)]
    queue.close()


def test_while_the_disk_is_full_memory_is_bounded(tmp_path: Path) -> None:
    queue = MessageQueue(tmp_path / "q.sqlite3", max_messages=10)
    queue._database.execute("PRAGMA query_only = ON")
    for number in range(50):
        queue.append(message(number, "end" if number == 3 else "begin"))
    assert len(queue) == 10 and queue.dropped == 40
    first = queue.first()
    assert first is not None and '"e3"' in first.text
    queue.close()


def test_a_second_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = MessageQueue(tmp_path / "q.sqlite3")
    code = (
        "import sys; from pathlib import Path; from audiotag.live.outputs import queue\n"
        "queue._PATIENCE_SECONDS = 0.1\n"
        "queue.MessageQueue(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "q.sqlite3")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Another audiotag has it" in done.stderr
    queue.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_what_is_no_queue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.sqlite3").write_text("something else, long enough for a header of SQLite" * 100)
    with pytest.raises(OutputError, match="Move the file away"):
        MessageQueue(tmp_path / "q.sqlite3")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file.q\.sqlite3"):
        MessageQueue(tmp_path / "file" / "q.sqlite3")


def test_every_message_is_synced_to_the_disk(tmp_path: Path) -> None:
    queue = MessageQueue(tmp_path / "q.sqlite3")
    queue.append(message(0))
    assert queue._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert queue._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    queue.close()
    with sqlite3.connect(tmp_path / "q.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    database.close()
