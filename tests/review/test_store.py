"""A review on disk: what is asked of it, who changes it, and what survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiotag import read_detections
from audiotag.data.detections import Detections
from audiotag.errors import LabelError, OptionError, StoreError
from audiotag.labels import Label, LabelSet
from audiotag.review import ConflictError, Query, Reviewed, ReviewStore
from audiotag.review.records import ORDERS

LABELS = LabelSet([Label("/m/bark", "Bark"), Label("/m/speech", "Speech"), Label("/m/bell", "Bell")])
BEGIN = datetime(2026, 5, 17, 4, 30)
PATHS = [Path("/sounds/a.wav"), Path("/sounds/b.wav"), Path("/sounds/c.wav")]


def fill(review: ReviewStore, count: int = 60, seed: int = 0) -> int:
    draws = np.random.default_rng(seed)
    onsets = draws.integers(0, 50, count) / 4
    return review.add_detections(
        Detections(
            recordings=draws.integers(0, 3, count).astype(np.int32),
            indices=draws.integers(0, 3, count).astype(np.int32),
            onsets=onsets,
            offsets=onsets + 0.25 + draws.integers(0, 4, count) / 4,
            scores=(draws.integers(0, 8, count) / 8).astype(np.float32),  # with ties, and zeros
            names=[str(path) for path in PATHS],
            begins=[BEGIN, BEGIN + timedelta(days=1), None],
            labels=LABELS,
            root=Path(),
            source="made up",
        )
    )


@pytest.fixture
def review(tmp_path: Path) -> ReviewStore:
    store = ReviewStore.create(tmp_path / "review", LABELS, thresholds=[0.5, 0.4, 0.3])
    fill(store)
    return store


def everything(review: ReviewStore, query: Query, limit: int = 7) -> list[Reviewed]:
    page = review.page(query, limit=limit)
    events = [*page.events]
    while page.after is not None:
        page = review.page(query, limit=limit, after=page.after)
        events += page.events
    return events


def first(review: ReviewStore) -> Reviewed:
    return review.page(limit=1).events[0]


def key(event: Reviewed, order: str) -> tuple[float, ...]:
    """What an order sorts by, from the lowest in the usual direction."""
    score = -1.0 if event.score is None else event.score
    moment = -1.0 if event.moment is None else event.moment.timestamp()
    reviewed = -1.0 if event.reviewed is None else event.reviewed.timestamp()
    return {
        "score": (-score,),
        "class": (LABELS.index(event.label.mid), -score),
        "date": (-moment,),
        "recording": (PATHS.index(event.recording), event.onset),
        "reviewed": (-reviewed,),
    }[order]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("usual", [True, False])
def test_pages_hold_each_event_once_in_every_order(review: ReviewStore, order: str, usual: bool) -> None:
    for event in review.page(limit=5).events:
        review.confirm(event.number, version=0, who="Ada")
    review.add(PATHS[2], "Bell", 100.0, 101.0, who="Ada")
    forwards = order not in ("class", "recording")
    events = everything(review, Query(order=order, descending=forwards if usual else not forwards))  # type: ignore[arg-type]
    assert len({event.number for event in events}) == len(events) == len(review)
    keys = [key(event, order) for event in events]
    assert keys == sorted(keys, reverse=not usual)


def test_a_query_gives_what_it_says_and_nothing_else(review: ReviewStore) -> None:
    every = everything(review, Query())
    for event in every[::3]:
        review.reject(event.number, version=0, who="Ada")
    for event in every[1::3]:
        review.confirm(event.number, version=0, who="Ben")
    every = everything(review, Query())
    queries = {
        Query(labels=("Bark", "/m/bell")): lambda event: event.label.name in ("Bark", "Bell"),
        Query(status=("rejected",)): lambda event: event.status == "rejected",
        Query(status=("rejected", "unreviewed")): lambda event: event.status != "confirmed",
        Query(least_score=0.5): lambda event: event.score >= 0.5,
        Query(least_score=0.25, most_score=0.5): lambda event: 0.25 <= event.score <= 0.5,
        Query(begin=BEGIN + timedelta(days=1)): lambda event: event.recording == PATHS[1],
        Query(end=BEGIN + timedelta(days=1)): lambda event: event.recording == PATHS[0],
        Query(recording=PATHS[2]): lambda event: event.recording == PATHS[2],
        Query(recording=Path("/elsewhere")): lambda event: False,
        Query(drawn=True): lambda event: False,
        Query(labels=("Bark",), status=("confirmed",), order="date"): (
            lambda event: event.label.name == "Bark" and event.status == "confirmed"
        ),
    }
    for query, wanted in queries.items():
        expected = {event.number for event in every if wanted(event)}
        assert {event.number for event in everything(review, query)} == expected
        assert review.count(query) == len(expected)
    counts = review.counts()
    assert [one.threshold for one in counts] == [0.5, 0.4, 0.3]
    for one in counts:
        for status in ("unreviewed", "confirmed", "rejected"):
            mine = [event for event in every if event.label == one.label and event.status == status]
            assert getattr(one, status) == len(mine)
    recordings = review.recordings(limit=2)
    assert [one.path for one in recordings + review.recordings(after=recordings[-1].path)] == PATHS
    assert recordings[0].begin == BEGIN and review.recordings(after=PATHS[1])[0].begin is None
    assert recordings[0].reviewed == sum(one.recording == PATHS[0] and one.status != "unreviewed" for one in every)
    with pytest.raises(LabelError, match="Meow"):
        review.page(Query(labels=("Meow",)))
    with pytest.raises(OptionError, match="after"):
        review.page(after="[1]")


def test_detections_come_once_and_new_ones_later(review: ReviewStore, tmp_path: Path) -> None:
    before = everything(review, Query())
    judged = review.move(before[0].number, 0.0, 99.0, version=0, who="Ada")
    assert fill(review) == 0
    assert review.event(judged.number) == judged
    assert fill(review, 200, seed=1) == len(review) - len(before) > 0
    (tmp_path / "more.csv").write_text("filename,onset,offset,event_label,mid,score\nd.wav,0,1,Cat,/m/cat,0.5\n")
    assert review.add_detections(read_detections(tmp_path / "more.csv")) == 1
    assert review.labels[3].name == "Cat"
    (event,) = review.page(Query(labels=("Cat",))).events
    assert event.recording == tmp_path / "d.wav" and event.detected == event.label and event.detected_score == 0.5
    (tmp_path / "unscored.tsv").write_text("filename\tonset\toffset\tevent_label\nd.wav\t0\t2\tCat\n")
    assert review.add_detections(read_detections(tmp_path / "unscored.tsv")) == 1
    assert review.page(Query(labels=("Cat",))).events[1].detected_score is None


def test_a_verdict_says_who_when_before_and_after(review: ReviewStore) -> None:
    start = datetime.now(UTC)
    event = first(review)
    changed = review.change_label(event.number, "Bell", version=0, who=" Ada ")
    moved = review.move(event.number, 1.0, 2.5, version=changed.version, who="Ben")
    noted = review.note(event.number, "a bicycle's", version=moved.version, who="Ben")
    assert (noted.label.name, noted.status, noted.onset, noted.offset) == ("Bell", "confirmed", 1.0, 2.5)
    assert noted.note == "a bicycle's" and noted.version == 3
    assert noted.detected == event.label and noted.score == event.score
    one, two, three = review.verdicts(event=event.number)
    assert [verdict.who for verdict in (one, two, three)] == ["Ada", "Ben", "Ben"]
    assert one.before is not None and one.before.mid == event.label.mid and one.before.status == "unreviewed"
    assert one.after == two.before and two.after == three.before and three.after.note == "a bicycle's"
    assert start <= one.moment <= two.moment <= three.moment <= datetime.now(UTC)
    assert review.verdicts(after=one.number) == [two, three]


def test_what_two_people_say_at_once_is_never_overwritten_silently(review: ReviewStore) -> None:
    event = first(review)
    other = ReviewStore(review.folder)
    judged = review.confirm(event.number, version=event.version, who="Ada")
    with pytest.raises(ConflictError, match="Ada has changed the event") as caught:
        other.reject(event.number, version=event.version, who="Ben")
    assert caught.value.current == judged == other.event(event.number)
    assert review.confirm(event.number, version=event.version, who="Ada") == judged, "sent again, for want of an answer"
    with pytest.raises(ConflictError):
        review.confirm(event.number, version=event.version, who="Ben")
    assert len(review.verdicts()) == 1


def test_added_events_are_there_and_undone_ones_are_not(review: ReviewStore) -> None:
    count = len(review)
    added = review.add(PATHS[0], "Bell", 3.0, 4.0, who="Ada", note="faint")
    assert added.score is None and added.detected is None and added.status == "confirmed" and added.note == "faint"
    assert added.moment == BEGIN + timedelta(seconds=3)
    assert len(review) == count + 1
    gone = review.undo("Ada")
    assert gone.number == added.number and gone.status == "withdrawn" and len(review) == count
    again = review.undo("Ben", review.verdicts()[-1].number)
    assert again.status == "confirmed" and len(review) == count + 1
    with pytest.raises(OptionError, match="not in the review"):
        review.add("/elsewhere.wav", "Bell", 0.0, 1.0, who="Ada")


@pytest.mark.parametrize("borders", [(-1.0, 1.0), (1.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_borders_that_cannot_be_are_refused(review: ReviewStore, borders: tuple[float, float]) -> None:
    with pytest.raises(OptionError):
        review.move(first(review).number, *borders, version=0, who="Ada")
    with pytest.raises(OptionError):
        review.add(PATHS[0], "Bell", *borders, who="Ada")


def test_people_have_names_and_events_exist(review: ReviewStore) -> None:
    for who in ("", "  ", "x" * 201):
        with pytest.raises(OptionError, match="who is"):
            review.confirm(first(review).number, version=0, who=who)
    with pytest.raises(OptionError, match="no event 100000"):
        review.confirm(100_000, version=0, who="Ada")
    with pytest.raises(OptionError, match="nothing to undo"):
        review.undo("Ada")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["confirm", "reject", "label", "move", "note", "undo", "undo any"]),
        st.integers(0, 5),
        st.sampled_from(["Ada", "Ben"]),
        st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_undoing_everything_leaves_everything_as_it_was(steps: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    review = ReviewStore.create(tmp_path_factory.mktemp("undo") / "review", LABELS)
    fill(review, 6)
    events = everything(review, Query(order="recording"))
    shown = [(one.number, one.label, one.onset, one.offset, one.status, one.note) for one in events]
    counts = review.counts()
    for step, place, who, value in steps:
        event = review.event(events[place % len(events)].number)
        about = {"version": event.version, "who": who}
        match step:
            case "confirm":
                review.confirm(event.number, **about)
            case "reject":
                review.reject(event.number, **about)
            case "label":
                review.change_label(event.number, LABELS[value].mid, **about)
            case "move":
                review.move(event.number, value, value + 1, **about)
            case "note":
                review.note(event.number, "x" * value, **about)
            case _:
                number = None if step == "undo" or not review.verdicts() else review.verdicts()[-1].number
                try:
                    review.undo(who, number)
                except (OptionError, ConflictError):
                    continue
    for verdict in reversed(review.verdicts()):  # a later one on the same event goes first
        if verdict.undoes is None:
            with suppress(OptionError):  # it is undone
                review.undo("Ada", verdict.number)
    after = everything(review, Query(order="recording"))
    assert [(one.number, one.label, one.onset, one.offset, one.status, one.note) for one in after] == shown
    assert review.counts() == counts
    assert [one.version for one in after] == [len(review.verdicts(event=one.number)) for one in after]
    review.close()


def test_undoing_takes_back_one_verdict_after_another(review: ReviewStore) -> None:
    event = first(review)
    review.confirm(event.number, version=0, who="Ada")
    review.note(event.number, "odd", version=1, who="Ada")
    assert review.undo("Ada").note == "" and review.undo("Ada").status == "unreviewed"
    with pytest.raises(OptionError, match="nothing to undo"):
        review.undo("Ada")
    review.undo("Ada", review.verdicts()[-1].number)
    assert review.event(event.number).status == "confirmed"
    review.reject(event.number, version=5, who="Ben")
    with pytest.raises(ConflictError, match="Ben"):
        review.undo("Ada")


def test_several_writers_lose_nothing(review: ReviewStore) -> None:
    """Each person adds a word to the notes of the same events, and looks again where somebody was faster."""
    events = [event.number for event in review.page(limit=4).events]

    def write(who: str) -> None:
        for number in events * 3:
            while True:
                event = review.event(number)
                with suppress(ConflictError):
                    review.note(number, f"{event.note} {who}", version=event.version, who=who)
                    break

    people = [threading.Thread(target=write, args=(f"p{number}",)) for number in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    for number in events:
        event = review.event(number)
        assert sorted(event.note.split()) == sorted([f"p{person}" for person in range(4)] * 3)
        assert event.version == 12 and len(review.verdicts(event=number)) == 12


JUDGE = """
import sys
from audiotag.review import ReviewStore
review = ReviewStore(sys.argv[1])
for event in review.page(limit=1000).events:
    for number in range(100):
        event = review.note(event.number, f"{number}", version=event.version, who=sys.argv[2])
        print(event.number, event.version, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(review: ReviewStore) -> None:
    for attempt in range(3):
        before = {event.number: event.version for event in everything(review, Query())}
        process = subprocess.Popen(
            [sys.executable, "-c", JUDGE, str(review.folder), f"p{attempt}"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5 + 20 * attempt)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        told = dict(before)
        told.update(tuple(map(int, line.split())) for line in said if line.endswith("\n"))
        now = {event.number: event.version for event in everything(ReviewStore(review.folder), Query())}
        assert sum(now.values()) - sum(told.values()) in (0, 1), "one may be on the disk and not said"
        assert all(now[number] >= version for number, version in told.items())
        for number, version in now.items():
            assert [verdict.version for verdict in review.verdicts(event=number)] == [*range(1, version + 1)]


def test_a_folder_that_is_no_review_is_told_from_a_damaged_one(review: ReviewStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no review here"):
        ReviewStore(tmp_path)
    with pytest.raises(OptionError):
        ReviewStore.create(review.folder, LABELS)
    review.close()
    path = review.folder / "review.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TRIGGER strange AFTER INSERT ON verdicts BEGIN DELETE FROM verdicts; END")
    database.close()
    with pytest.raises(StoreError, match="triggers or views"):
        ReviewStore(review.folder)
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER strange")
        database.execute("UPDATE settings SET value = '2' WHERE key = 'format'")
    database.close()
    with pytest.raises(StoreError, match="Upgrade audiotag"):
        ReviewStore(review.folder)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="backup"):
        ReviewStore(review.folder)
