"""Detections are read back as they were written, whatever they were written in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audiotag
from audiotag.audio.encoding import write_sound
from audiotag.data import Detections
from audiotag.data.clips import Clip
from audiotag.data.detections import Detection
from audiotag.data.sets.tiny import tiny_sound
from audiotag.distributed.merge import Survey
from audiotag.distributed.results_folder import ResultsFolder
from audiotag.errors import AudiotagError, ManifestError
from audiotag.inference.events import Event
from audiotag.inference.writers import Result, open_output
from audiotag.labels import Label, LabelSet, composed

LABELS = LabelSet([Label("/m/1", "Dog, barking"), Label("/m/2", "=Speech"), Label("/m/3", "Bébé")])


def written(path: Path, results: list[Result], format: str | None = None, **how: Any) -> Path:
    with open_output(format or path.suffix[1:], path, overwrite=True, **how) as output:
        for result in results:
            output.write(result)
    return path


def result(path: str, *rows: tuple[float, float, int, float], moment: datetime | None = None) -> Result:
    events = tuple(
        Event(onset, offset, LABELS[index].name, LABELS[index].mid, score) for onset, offset, index, score in rows
    )
    return Result(Clip(path, Path(path)), 60.0, events, moment=moment)


RESULTS = [
    result("-a/b, c.wav", (0.0, 60.0, 0, 0.9), (1.5, 2.0, 1, 0.25)),
    result("silent.wav"),
    result("d.wav", (1 / 3, 2 / 3, 2, 1.0), (0.5, 1.0, 0, 0.0)),
]

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda name: name == name.strip() and "/" not in name and name not in (".", "..")
)
"""A table holds cells without blanks around them."""


def as_rows(detections: Detections) -> list[tuple[str, float, float, str, str, float]]:
    return [
        (
            detections.names[detections.recordings[place]],
            one.onset,
            one.offset,
            one.label.mid,
            one.label.name,
            one.score,
        )
        for place, one in enumerate(detections)
    ]


class TestWhatInferWrites:
    @pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "ndjson", "parquet"])
    @settings(max_examples=15, deadline=None)
    @given(
        recordings=st.lists(
            st.tuples(
                names,
                st.lists(
                    st.tuples(st.floats(0, 1e5), st.floats(1e-3, 1e4), st.integers(0, 3), st.floats(0, 1, width=32)),
                    max_size=4,
                ),
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda one: one[0],
        ),
        classes=st.lists(names.map(composed), min_size=4, max_size=4, unique=True),
        timed=st.booleans(),
    )
    def test_is_read_back(
        self, tmp_path_factory: pytest.TempPathFactory, ending: str, recordings: Any, classes: Any, timed: bool
    ) -> None:
        results, expected = [], []
        for name, rows in recordings:
            events = [Event(on, on + lasts, classes[k], f"/m/{k}", score) for on, lasts, k, score in rows]
            moment = datetime(2026, 5, 1, 6, 30) if timed else None
            results.append(Result(Clip(name, Path(name)), 3e5, tuple(events), moment=moment))
            expected += [(name, event) for event in events]
        path = tmp_path_factory.mktemp("read") / f"found.{ending}"
        written(path, results, {"ndjson": "jsonl"}.get(ending), absolute_times=timed)
        labels = LabelSet([Label(f"/m/{k}", name) for k, name in enumerate(classes)])
        found = audiotag.read_detections(path, labels=labels)
        assert len(found) == len(expected)
        for row, (name, event) in zip(as_rows(found), expected, strict=True):
            assert Path(row[0]) == Path(name) and row[3:5] == (event.mid, event.label)
            np.testing.assert_allclose(row[1:3], (event.onset, event.offset), atol=1e-6, rtol=0)
            assert row[5] == pytest.approx(event.score, rel=1e-5, abs=1e-30)
        for begin in found.begins:
            assert (begin is None) is not timed
            if begin is not None:
                assert abs((begin - datetime(2026, 5, 1, 6, 30)).total_seconds()) < 0.002

    @pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "tsv", "parquet"])
    def test_classes_are_those_named_or_those_given(self, tmp_path: Path, ending: str) -> None:
        path = written(tmp_path / f"found.{ending}", RESULTS)
        found = audiotag.read_detections(path)
        assert {one.label.name for one in found} == set(LABELS.names)
        assert list(found.labels.mids) == sorted(found.labels.mids)
        mine = LabelSet([Label("unheard", "Cat"), *reversed(LABELS)])
        given = audiotag.read_detections(path, labels=mine)
        assert [mine[index].name for index in given.indices] == [found.labels[index].name for index in found.indices]
        with pytest.raises(ManifestError, match=r"there is no class .*Bébé|there is no class '/m/3'|class 'Bébé'"):
            audiotag.read_detections(path, labels=LabelSet(LABELS[:2]))

    def test_a_class_whose_mid_is_unknown_is_found_by_its_name(self, tmp_path: Path) -> None:
        path = written(tmp_path / "found.csv", RESULTS)
        by_name = LabelSet.from_names(LABELS.names)
        assert [one.label.mid for one in audiotag.read_detections(path, labels=by_name)] == [
            "Dog, barking", "=Speech", "Bébé", "Dog, barking",
        ]  # fmt: skip

    def test_a_selection_table_has_scores(self, tmp_path: Path) -> None:
        write_sound(tmp_path / "d.wav", tiny_sound((0,), 0), 16_000, "PCM_16")
        results = [result(str(tmp_path / "d.wav"), (1.5, 2.0, 0, 0.25)), result("e.wav", (3.0, 4.5, 2, 0.5))]
        found = audiotag.read_detections(written(tmp_path / "raven.txt", results, "raven"))
        assert [row[1:] for row in as_rows(found)] == [
            (1.5, 2.0, "Dog, barking", "Dog, barking", 0.25),
            (3.0, 4.5, "Bébé", "Bébé", 0.5),
        ]
        assert [found.path(place) for place in (0, 1)] == [tmp_path / "d.wav", tmp_path / "e.wav"]

    def test_a_run_in_shards(
        self, run_shard: Callable[..., Any], one_file: Callable[..., str], clips: list[Clip], tmp_path: Path
    ) -> None:
        for index in range(2):
            run_shard(f"{index}/2", clips, settings={"threshold": 0.2})
        one_file("found.csv", threshold=0.2)
        Survey(ResultsFolder(tmp_path / "out")).write(tmp_path / "merged.jsonl", "jsonl")
        folder = audiotag.read_detections(tmp_path / "out")
        for other in ("one-found.csv", "merged.jsonl"):
            found = audiotag.read_detections(tmp_path / other)
            assert len(found) == len(folder) > 3 and [*found.names] == [*folder.names]
            for name in ("recordings", "onsets", "offsets", "indices", "scores"):
                np.testing.assert_allclose(getattr(found, name), getattr(folder, name), rtol=1e-5)


class TestWhatOthersWrite:
    def test_tracks_beside_recordings(self, tmp_path: Path) -> None:
        for name in ("a.wav", "b.wav", "unlabelled.wav"):
            write_sound(tmp_path / name, tiny_sound((0,), 0), 16_000, "PCM_16")
        (tmp_path / "a.txt").write_text("0.5\t1.0\tDog\t0.75\n1.0\t2.5\tCat\n")
        (tmp_path / "b.txt").write_text("0.0\t0.5\tDog\t0.5\n")
        found = audiotag.read_detections(tmp_path)
        assert [row[:4] for row in as_rows(found)] == [
            ("a.wav", 0.5, 1.0, "Dog"), ("a.wav", 1.0, 2.5, "Cat"), ("b.wav", 0.0, 0.5, "Dog"),
        ]  # fmt: skip
        np.testing.assert_array_equal(found.scores, [0.75, math.nan, 0.5])
        assert found.path(1) == tmp_path / "b.wav"
        alone = audiotag.read_detections(tmp_path / "b.txt")
        assert as_rows(alone) == [("b.wav", 0.0, 0.5, "Dog", "Dog", 0.5)]

    def test_a_table_with_names_and_scores(self, tmp_path: Path) -> None:
        (tmp_path / "found.tsv").write_text(
            "file\tonset\toffset\tevent_label\tscore\na.wav\t0.5\t1\tDog\t0.75\nb.wav\t\t\t\t\n"
        )
        assert as_rows(audiotag.read_detections(tmp_path / "found.tsv")) == [("a.wav", 0.5, 1.0, "Dog", "Dog", 0.75)]

    def test_a_list_without_a_header(self, tmp_path: Path) -> None:
        (tmp_path / "found.txt").write_text("a.wav\t0.5\t2\tDog\n")
        (only,) = audiotag.read_detections(tmp_path / "found.txt", root=tmp_path)
        assert only[:4] == (tmp_path / "a.wav", 0.5, 2.0, Label("Dog", "Dog")) and math.isnan(only.score)


class TestWhereRecordingsAre:
    def test_from_the_current_folder_if_they_are_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "there").mkdir()
        path = written(tmp_path / "there" / "found.csv", [result("d.wav", (0.0, 1.0, 0, 0.5))])
        monkeypatch.chdir(tmp_path)
        assert audiotag.read_detections(path)[0].path == tmp_path / "there" / "d.wav"
        (tmp_path / "d.wav").touch()
        assert audiotag.read_detections(path)[0].path == Path("d.wav")
        assert audiotag.read_detections(path, root="elsewhere")[0].path == Path("elsewhere/d.wav")


GOOD = {"filename": "a.wav", "onset": 0.0, "offset": 1.0, "event_label": "Dog", "mid": "/m/1", "score": 0.5}


class TestErrors:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"onset": "soon"}, "onset is 'soon', not a number"),
            ({"onset": True}, "onset is True, not a number"),
            ({"onset": 1.0}, "the event begins at 1 s and ends at 1 s"),
            ({"offset": math.inf}, "offset is inf, not a number"),
            ({"score": 1.5}, "the score is 1.5"),
            ({"score": -0.1}, "the score is -0.1"),
            ({"filename": ""}, "filename is ''"),
            ({"filename": 7}, "filename is 7, not text"),
            ({"event_label": "", "mid": ""}, "event_label is ''"),
            ({"mid": 7}, "event_label is 7"),
            ({"time": "noon"}, "time is 'noon', not a date and time"),
        ],
    )
    def test_name_file_and_line(self, tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
        path = tmp_path / "found.jsonl"
        rows = [GOOD] * 3 + [{**GOOD, "filename": "b.wav", "event_label": "Cat", "mid": "/m/2", **wrong}]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(ManifestError) as error:
            audiotag.read_detections(path)
        assert str(error.value).startswith(f"{path}, line 4: {message}")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.csv", "filename,onset,offset,event_label,mid,score\na.wav,0,1,Dog,/m/1,x\n", "line 2: score is 'x'"),
            ("x.csv", "filename,onset,offset,event_label,mid,score\na.wav,0,1\n", "line 2: 3 cells"),
            ("x.csv", "filename,onset,offset,event_label,mid,score\n", "there is no detection in it"),
            ("x.csv", "path,labels\na.wav,Dog\n", "no detections in this file"),
            ("x.csv", "filename,event_labels\na.wav,Dog\n", "no detections in this file"),
            ("x.jsonl", '{"filename": "a.wav"}\n', "line 1: this is no detection"),
            ("x.jsonl", '{"filename": "a.wav"', "not valid JSON"),
            ("x.jsonl", json.dumps(GOOD) + "\n[]\n", "line 2: this is no detection"),
            ("x.json", '{"recordings": [{"filename": "a.wav", "events": [3]}]}', "a.wav, event 1: this is no"),
            ("x.json", '{"recordings": [{"filename": "a.wav"}]}', "events"),
            ("x.json", '{"recordings": [{"filename": "a.wav", "events": 3}]}', "events"),
            ("x.parquet", "PAR1", "cannot be read"),
            ("x.bin", "\0\1", "no detections in this file"),
        ],
    )  # fmt: skip
    def test_of_files(self, tmp_path: Path, name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(ManifestError) as error:
            audiotag.read_detections(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name)) and message in str(error.value)

    def test_of_places(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="there is no such file"):
            audiotag.read_detections(tmp_path / "nothing")
        with pytest.raises(AudiotagError, match="no detections in this folder"):
            audiotag.read_detections(tmp_path)


def test_columns_are_compact_and_can_be_chosen(tmp_path: Path) -> None:
    found = audiotag.read_detections(written(tmp_path / "found.csv", RESULTS), labels=LABELS)
    columns = ("recordings", "onsets", "offsets", "indices", "scores")
    assert sum(getattr(found, name).itemsize for name in columns) == 28
    assert [*found.names] == [found.names[0], "d.wav"]  # nothing was found in the other
    chosen = found.subset(found.scores >= 0.5)
    assert as_rows(chosen) == [row for row in as_rows(found) if row[5] >= 0.5] and chosen.labels is LABELS
    assert isinstance(chosen[-1], Detection) and found[1:3] == (found[1], found[2])
    assert len(audiotag.read_detections(written(tmp_path / "none.csv", [result("a.wav")]), labels=LABELS)) == 0
