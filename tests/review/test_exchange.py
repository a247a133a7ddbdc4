"""What a review writes for other tools, and takes back from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag import read_detections
from audiotag.data import read_clips
from audiotag.data.detections import Detections
from audiotag.errors import OptionError
from audiotag.labels import Label, LabelSet
from audiotag.review import Query, ReviewStore, export_events, export_manifest, import_events

LABELS = LabelSet([Label("/m/bark", "Bark"), Label("/m/bell", "Bell, of a door"), Label("=sum", "-Speech")])
RATE, SECONDS, NAMES = 8000, 8, ("a.wav", "b.wav")


def make(folder: Path, events: list[tuple[int, int, int, int]]) -> ReviewStore:
    """Events are recording, class, and onset and length in quarters of a second."""
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        soundfile.write(folder / name, np.zeros(SECONDS * RATE), RATE)
    review = ReviewStore.create(folder / "review", LABELS)
    columns = np.array(events).reshape(-1, 4)
    review.add_detections(
        Detections(
            columns[:, 0].astype(np.int32),
            columns[:, 2] / 4,
            (columns[:, 2] + columns[:, 3]) / 4,
            columns[:, 1].astype(np.int32),
            np.full(len(columns), 0.5, np.float32),
            NAMES,
            [None] * len(NAMES),
            LABELS,
            folder,
            "made up",
        )
    )
    return review


def confirmed(review: ReviewStore) -> list[tuple[str, str, float, float]]:
    events = review.page(Query(status=("confirmed",)), limit=1000).events
    return sorted((one.recording.name, one.label.mid, one.onset, one.offset) for one in events)


EVENTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 20), st.integers(1, 10)),
    min_size=1,
    max_size=8,
    unique=True,
)
FORMATS = [("e.csv", "csv"), ("e.jsonl", "jsonl"), ("e.tsv", "tsv"), ("e.txt", "raven"), ("e.json", "json")]


@pytest.mark.parametrize(("name", "format"), FORMATS)
@settings(max_examples=5, deadline=None)
@given(events=EVENTS, data=st.data())
def test_what_is_exported_is_what_is_imported(
    name: str, format: str, events: list, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("exchange")
    review = make(folder, events)
    for event in review.page(limit=100).events:
        match data.draw(st.sampled_from(["confirm", "reject", "move", "label", "nothing"])):
            case "confirm":
                review.confirm(event.number, version=0, who="Ada")
            case "reject":
                review.reject(event.number, version=0, who="Ada")
            case "move":
                review.move(event.number, event.onset, event.offset + 0.125, version=0, who="Ada")
            case "label":
                review.change_label(event.number, "/m/bark", version=0, who="Ada")
    expected = confirmed(review)
    if not expected:
        with pytest.raises(OptionError, match="no such event"):
            export_events(review, folder / name, format)
        return
    assert export_events(review, folder / name, format) == len(expected)
    others = folder / "other"
    other = make(others, events)
    found = read_detections(folder / name, root=folder, labels=LABELS)
    assert len(found) == len(expected)
    # The other review knows the same recordings under its own folder.
    renamed = [str(others / Path(one).name) for one in found.names]
    moved = Detections(
        found.recordings,
        found.onsets,
        found.offsets,
        found.indices,
        found.scores,
        renamed,
        found.begins,
        found.labels,
        found.root,
        found.source,
    )
    import_events(other, moved, who="Ben")
    assert set(confirmed(other)) == set(expected)
    assert import_events(other, moved, who="Ben") == 0, "they are there now"


def test_tracks_of_audacity_lie_in_a_folder(tmp_path: Path) -> None:
    review = make(tmp_path, [(0, 0, 4, 4), (1, 0, 8, 2), (1, 2, 0, 1)])
    for event in review.page().events:
        review.confirm(event.number, version=0, who="Ada")
    assert export_events(review, tmp_path / "tracks", "audacity") == 3
    assert (tmp_path / "tracks" / "a.txt").read_text() == "1.000000\t2.000000\tBark\n"
    for name in NAMES:
        (tmp_path / "tracks" / name).write_bytes((tmp_path / name).read_bytes())
    assert len(read_detections(tmp_path / "tracks", labels=LABELS)) == 3


def test_rejected_events_come_back_as_rejected(tmp_path: Path) -> None:
    review = make(tmp_path, [(0, 0, 4, 4), (1, 1, 8, 2)])
    review.reject(1, version=0, who="Ada")
    export_events(review, tmp_path / "no.csv", query=Query(status=("rejected",)))
    other = make(tmp_path / "other", [(0, 1, 0, 1)])
    with pytest.raises(OptionError, match="not in the review"):
        import_events(other, read_detections(tmp_path / "no.csv"), who="Ben")
    review.undo("Ada")
    assert import_events(review, read_detections(tmp_path / "no.csv"), who="Ben", rejected=True) == 1
    assert review.event(1).status == "rejected" and review.verdicts()[-1].who == "Ben"


@pytest.mark.parametrize("name", ["clips.json", "clips.csv"])
def test_a_manifest_says_what_was_judged(tmp_path: Path, name: str) -> None:
    review = make(tmp_path, [(0, 0, 4, 8), (0, 1, 5, 4), (0, 2, 4, 8), (1, 0, 0, 4), (1, 1, 20, 4)])
    review.confirm(1, version=0, who="Ada")
    review.confirm(2, version=0, who="Ada")
    review.reject(4, version=0, who="Ada")
    assert export_manifest(review, tmp_path / name) == 3
    clips = read_clips(tmp_path / name, labels=LABELS)
    told = {(clip.path.name, clip.start, clip.stop): (clip.labels, clip.unknown) for clip in clips}
    unknown = (2,) if name == "clips.json" else ()
    assert told == {
        ("a.wav", 1.0, 3.0): ((0, 1), unknown),
        ("a.wav", 1.25, 2.25): ((0, 1), unknown),
        ("b.wav", 0.0, 1.0): ((), ()),
    }
    with pytest.raises(OptionError, match="JSON or CSV"):
        export_manifest(review, tmp_path / "clips.txt")
