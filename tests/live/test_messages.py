"""Messages: what they must have, and that their JSON is one line that gives them back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag import Label
from audiotag.errors import OptionError, OutputError
from audiotag.live import Message

TIME = datetime(2026, 11, 26, 17, 21, 42, 5, tzinfo=UTC)
END = Message("end", "7f-3", "hall", Label("/m/03wwcy", "Doorbell"), 12.5, 14.0, TIME, 0.93, Path("clips/7f-3.flac"))
STATUS = Message("status", "7f-s1", "hall", None, 60.0, None, TIME, None, details={"level_db": -41.5, "dropped": 0})


def test_the_json_of_a_message_has_all_of_it() -> None:
    assert json.loads(END.to_json()) == {
        "kind": "end",
        "id": "7f-3",
        "source": "hall",
        "event_label": "Doorbell",
        "mid": "/m/03wwcy",
        "onset": 12.5,
        "offset": 14.0,
        "time": "2026-11-26T17:21:42.000005+00:00",
        "score": 0.93,
        "clip": "clips/7f-3.flac",
        "details": {},
    }


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]))
numbers = st.floats(0, 1e9)


@given(st.sampled_from(["begin", "end"]), texts, texts, texts, texts, numbers, numbers, times, st.floats(0, 1))
def test_a_message_is_read_back_from_its_line(kind, id, source, mid, name, onset, offset, time, score) -> None:  # type: ignore[no-untyped-def]
    message = Message(
        kind, id, source, Label(mid, name), onset, offset if kind == "end" else None, time, score, None, {"a": [1, "ü"]}
    )
    line = message.to_json()
    assert "\n" not in line
    assert Message.from_json(line) == message


def test_a_status_is_read_back_and_may_hold_numbers_of_numpy() -> None:
    status = replace(STATUS, details={"level_db": np.float32(-41.5), "dropped": np.int64(0)})
    assert Message.from_json(status.to_json()) == status == STATUS


def test_times_are_kept_in_utc() -> None:
    elsewhere = replace(END, time=datetime(2026, 11, 26, 18, 21, 42, 5, tzinfo=timezone(timedelta(hours=1))))
    assert elsewhere == END and elsewhere.time.tzinfo is UTC


def test_begin_and_end_of_an_event_are_told_apart() -> None:
    begin = replace(END, kind="begin", offset=None)
    assert (begin.key, END.key) == ("7f-3-begin", "7f-3-end")


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        (END, {"kind": "start"}),
        (END, {"id": ""}),
        (END, {"label": None}),
        (END, {"offset": None}),
        (END, {"kind": "begin"}),
        (END, {"score": None}),
        (END, {"score": float("nan")}),
        (END, {"onset": float("inf")}),
        (END, {"time": TIME.replace(tzinfo=None)}),
        (END, {"details": {"a": object()}}),
        (STATUS, {"label": Label("a", "a")}),
        (STATUS, {"score": 0.5}),
    ],
)
def test_half_a_message_is_refused(message: Message, wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        replace(message, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", END.to_json()[:-5], END.to_json().replace("2026-", "26-"), '{"kind": 3}']
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match="queue"):
        Message.from_json(text, "queue")
