"""Runs in shards and what joins them: all that `audiotag infer` finds in one process, and each clip once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet
import pytest

from audiotag.data.clips import Clip
from audiotag.distributed import part_files
from audiotag.distributed.merge import Counts, Survey
from audiotag.distributed.results_folder import ResultsFolder
from audiotag.errors import OptionError
from audiotag.inference.tagger import Tagger
from audiotag.inference.writers import EmbeddingCollector

Run = Callable[..., Any]
FORMATS = ("csv", "json", "jsonl", "tsv", "audacity", "raven", "home", "parquet")


@pytest.fixture(params=["parquet", "jsonl"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Parts of either format."""
    return {"format_": request.param}


def survey(tmp_path: Path) -> Survey:
    return Survey(ResultsFolder(tmp_path / "out"))


def counts(tmp_path: Path) -> Counts:
    return survey(tmp_path).counts


def merged(tmp_path: Path, format: str = "csv") -> str:
    path = tmp_path / "merged"
    survey(tmp_path).write(path, format)
    return path.read_text(encoding="utf-8")


def test_shards_together_are_one_run(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path, settings: dict[str, Any]
) -> None:
    for index in (2, 0, 1):
        run_shard(f"{index}/3", clips, settings=settings)
    found = counts(tmp_path)
    assert found.complete and (found.listed, found.tagged, found.failed, found.missing) == (11, 10, 1, 0)
    assert found.double == 0 and found.rows == 20 and not found.not_ended
    assert list(found.reasons.values()) == [1] and next(iter(found.reasons)).startswith("AudioError: ")
    assert merged(tmp_path) == one_file("csv", format_="csv")


@pytest.mark.parametrize("format", FORMATS)
def test_any_format_comes_out_as_from_one_run(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path, format: str
) -> None:
    how: dict[str, Any] = {"threshold": 0.5, "events": format != "home"}
    for index in range(2):
        run_shard(f"{index}/2", clips, settings=how)
    if format == "parquet":
        survey(tmp_path).write(tmp_path / "merged.parquet", format)
        one_file("x.csv", **how)

        table = pyarrow.parquet.read_table(tmp_path / "merged.parquet").to_pandas()
        expected = pandas.read_csv(tmp_path / "one-x.csv")
        assert list(table.columns) == list(expected.columns) and len(table) == len(expected) > 5
        assert list(table.filename) == list(expected.filename)
        np.testing.assert_allclose(table.onset, expected.onset, atol=1e-6)
        return
    text, expected_text = merged(tmp_path, format), one_file("x", format_=format, **how)
    if format == "json":
        found, expected_json = json.loads(text), json.loads(expected_text)
        assert found["recordings"] == expected_json["recordings"]
        return
    assert text == expected_text


def test_a_shard_that_was_done_does_nothing(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    first = run_shard("0/1", clips)
    before = sorted((tmp_path / "out" / "ledger").iterdir())
    again = run_shard("0/1", clips)
    assert (first.done_now, again.done_now, again.done_before) == (10, 0, 11)
    assert sorted((tmp_path / "out" / "ledger").iterdir()) == before
    assert not again.errors


def test_two_that_run_the_same_shard_at_the_same_time_count_once(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path
) -> None:
    def while_another_runs() -> Iterator[Clip]:
        yield clips[0]
        run_shard("0/1", clips)
        yield from clips[1:]

    run_shard("0/1", while_another_runs())
    found = counts(tmp_path)
    assert found.complete and (found.tagged, found.failed, found.double) == (10, 1, 10)
    assert merged(tmp_path) == one_file("csv", format_="csv")


def test_the_rest_may_be_done_in_another_number_of_shards(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path
) -> None:
    run_shard("1/3", clips)
    assert counts(tmp_path).not_ended == ["0/3", "2/3"]
    for index in range(2):
        run_shard(f"{index}/2", clips)
    found = counts(tmp_path)
    assert found.complete and found.double == 0
    assert merged(tmp_path) == one_file("csv", format_="csv")


def test_what_is_missing_is_counted(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    run_shard("1/3", clips)
    found = counts(tmp_path)
    assert not found.complete and found.listed == 11
    assert found.missing == 11 - found.tagged - found.failed > 0


def test_before_the_end_of_the_list_nobody_knows_what_is_missing(
    run_shard: Run, clips: list[Clip], tmp_path: Path
) -> None:
    def cut_off() -> Iterator[Clip]:
        yield from clips[:6]
        raise KeyboardInterrupt

    told = run_shard("0/1", cut_off())
    found = counts(tmp_path)
    assert told.done_now and (found.tagged, found.listed, found.missing, found.complete) == (
        told.done_now,
        None,
        None,
        False,
    )
    run_shard("0/1", clips)
    assert counts(tmp_path).complete


def test_a_list_may_grow(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    run_shard("0/1", clips[3:7])
    told = run_shard("0/1", clips)
    assert told.done_before == 4
    found = counts(tmp_path)
    assert found.complete and found.listed == 11


def test_a_clip_that_a_list_names_twice_is_there_once(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    for index in range(2):
        run_shard(f"{index}/2", [*clips[:5], clips[2], clips[4]])
    found = counts(tmp_path)
    assert found.complete and (found.listed, found.tagged) == (5, 5)
    assert len(merged(tmp_path).splitlines()) == 1 + 2 * 5


def test_recordings_that_failed_are_tried_again_on_request(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    run_shard("0/1", clips)
    broken = clips[9].path
    broken.write_bytes(clips[0].path.read_bytes())
    assert run_shard("0/1", clips).done_now == 0
    assert run_shard("0/1", clips, retry_failed=True).done_now == 1
    found = counts(tmp_path)
    assert found.complete and (found.tagged, found.failed, found.double, found.reasons) == (11, 0, 0, {})
    assert str(broken) in merged(tmp_path)


def test_other_settings_are_refused(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    run_shard("0/2", clips)
    with pytest.raises(OptionError, match="made in another way: top was 2 and is 3"):
        run_shard("1/2", clips, settings={"top": 3})
    # Two that begin in the same moment may both find nothing.
    (name,) = [one for one in (tmp_path / "out").iterdir() if one.name.startswith("run-")]
    other = json.loads(name.read_text())
    other["made_by"]["top"] = 5
    (tmp_path / "out" / "run-00000000.json").write_text(json.dumps(other))
    with pytest.raises(OptionError, match="different settings: top was"):
        survey(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "gone", "ledger", "rows"])
def test_a_damaged_part_does_not_count_and_is_told(
    run_shard: Run, clips: list[Clip], tmp_path: Path, settings: dict[str, Any], damage: str
) -> None:
    run_shard("0/1", clips, settings=settings, every=0.0)
    parts = sorted((tmp_path / "out" / "results").iterdir())
    assert len(parts) == 11
    victim = parts[2]
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-7])
    elif damage == "gone":
        victim.unlink()
    elif damage == "rows":
        victim.write_bytes(parts[9].read_bytes())
    else:
        ledger = tmp_path / "out" / "ledger" / victim.name
        ledger.write_bytes(ledger.read_bytes()[:-7])
    found = counts(tmp_path)
    assert not found.complete and (found.tagged, found.missing) == (9, 1)
    assert len(found.damaged) == 1 and victim.stem in found.damaged[0]
    if damage != "ledger":
        (tmp_path / "out" / "ledger" / victim.name).unlink()
    else:
        ledger.unlink()
    run_shard("0/1", clips, settings=settings)
    assert counts(tmp_path).complete


def test_embeddings_go_with_their_clips(run_shard: Run, tagger: Tagger, clips: list[Clip], tmp_path: Path) -> None:
    for index in range(2):
        run_shard(f"{index}/2", clips, settings={"with_embeddings": True}, every=0.0)
    run_shard("0/1", clips, settings={"with_embeddings": True})
    survey(tmp_path).write_embeddings(tmp_path / "merged.npz")
    with np.load(tmp_path / "merged.npz", allow_pickle=False) as found:
        order = np.argsort(found["ids"])
        assert list(found["ids"][order]) == [clip.id for clip in clips if clip.id != "09"]
        assert str(found["model"]) == tagger.name
        (expected,) = tagger.tag_files([clips[4]], embeddings=True)
        assert expected.embedding is not None
        np.testing.assert_allclose(found["embeddings"][order][4], expected.embedding, atol=1e-6)
        assert list(found["offsets"]) == [3.0] * 10


def test_embeddings_of_windows_before_a_failure_do_not_count(
    run_shard: Run, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = EmbeddingCollector.add

    def fail_late(self: EmbeddingCollector, clip: Clip, onset: float, *rest: Any) -> None:
        if clip.id == "04" and onset > 0.9:
            from audiotag.errors import AudioError

            raise AudioError("it is damaged behind", where=clip.path)
        add(self, clip, onset, *rest)

    monkeypatch.setattr(EmbeddingCollector, "add", fail_late)
    run_shard("0/1", clips, settings={"window": 1.0, "hop": 1.0, "with_embeddings": True})
    assert counts(tmp_path).failed == 2
    survey(tmp_path).write_embeddings(tmp_path / "merged.npz")
    with np.load(tmp_path / "merged.npz") as found:
        assert sorted(set(found["ids"].tolist())) == [clip.id for clip in clips if clip.id not in ("04", "09")]
        assert len(found["ids"]) == 9 * 3


def test_merging_takes_rows_in_chunks(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiotag.distributed.merge._MOST_ROWS", 3)
    monkeypatch.setattr(part_files, "_ROWS_IN_A_GROUP", 2)
    for index in range(3):
        run_shard(f"{index}/3", clips)
    assert merged(tmp_path) == one_file("csv", format_="csv")


def test_a_folder_with_other_things_is_refused(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(OptionError, match=r"holds something else \(thesis.txt\)"):
        run_shard("0/1", clips)
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file"):
        ResultsFolder(tmp_path / "file")
    with pytest.raises(OptionError, match="nothing was begun"):
        Survey(ResultsFolder(tmp_path / "sounds" / "none"))


def test_parts_of_both_formats_may_lie_together(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path
) -> None:
    run_shard("0/2", clips, settings={"format_": "parquet"})
    run_shard("1/2", clips, settings={"format_": "jsonl"})
    assert counts(tmp_path).complete
    assert merged(tmp_path) == one_file("csv", format_="csv")


def test_clips_of_one_recording_are_told_apart(run_shard: Run, clips: list[Clip], tmp_path: Path) -> None:
    parts = [replace(clips[0], start=start, stop=stop) for start, stop in ((0.0, 1.0), (1.0, 2.5), (1.0, None))]
    run_shard("0/1", parts)
    assert counts(tmp_path).tagged == 3
    run_shard("0/1", [*parts, clips[0]])
    found = counts(tmp_path)
    assert found.complete and found.tagged == 4 and found.double == 0


@pytest.mark.parametrize("format", ["csv", "jsonl", "json", "parquet"])
def test_absolute_times_are_those_of_one_run(
    run_shard: Run, one_file: Callable[..., str], clips: list[Clip], tmp_path: Path, format: str
) -> None:
    clips[0] = replace(clips[0], start=0.5, extra=(("date", "2026-05-17T04:30:00+02:00"), ("place", "brook")))
    how = {"absolute_times": True, "threshold": 0.5, "window": 1.0, "hop": 0.5}
    run_shard("0/1", clips, settings=how)
    if format == "parquet":
        survey(tmp_path).write(tmp_path / "merged", format)
        times = pyarrow.parquet.read_table(tmp_path / "merged")["time"].to_pylist()
        assert times[0].startswith("2026-05-17T04:30:0") and times[0].endswith("+02:00") and times[-1] is None
        return
    text, expected = merged(tmp_path, format), one_file("x", format_=format, **how)
    if format == "json":
        text, expected = text.split("recordings", 1)[1], expected.split("recordings", 1)[1]
    assert text == expected and "2026-05-17T04:30:00.500+02:00" in text
