from __future__ import annotations

import csv
import json
import os
import stat
from pathlib import Path

import numpy as np
import pandas
import pytest

from audiotag.errors import OptionError
from audiotag.inference.writers import (
    COLUMNS,
    FORMATS,
    EmbeddingCollector,
    Result,
    Row,
    open_writer,
    read_results,
)

RESULTS = [
    Result(
        "a",
        Path("ordner/Straße, laut.wav"),
        12.5,
        (
            Row(0.0, 2.5, 'Railroad car, "train" wagon', "/m/1", 0.75),
            Row(1.25, 12.5, "Bébé, qui pleure", "/m/2", 0.5123),
        ),
    ),
    Result("b", Path("silent.wav"), 3.0, ()),
    Result("c", Path("tab\tand\nline.wav"), 1.0 / 3, (Row(0.0, 1.0 / 3, "雨", "/m/3", 0.9),)),
]

ROWS = [(result, row) for result in RESULTS for row in result.rows]


def write(format: str, path: Path) -> Path:
    with open_writer(format, path, high_frequency=8000.0) as writer:
        for result in RESULTS:
            writer.write(result)
    return path


def check_frame(frame: pandas.DataFrame) -> None:
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame.filename) == [str(result.path) for result, _ in ROWS]
    assert list(frame.event_label) == [row.label for _, row in ROWS]
    assert list(frame.mid) == [row.mid for _, row in ROWS]
    np.testing.assert_allclose(frame.onset, [row.onset for _, row in ROWS], atol=1e-6)
    np.testing.assert_allclose(frame.offset, [row.offset for _, row in ROWS], atol=1e-6)
    np.testing.assert_allclose(frame.score, [row.score for _, row in ROWS], rtol=1e-5)


def test_csv(tmp_path: Path) -> None:
    check_frame(pandas.read_csv(write("csv", tmp_path / "out.csv")))


def test_json_lines(tmp_path: Path) -> None:
    path = write("jsonl", tmp_path / "out.jsonl")
    check_frame(pandas.DataFrame([json.loads(line) for line in path.read_text("utf-8").splitlines()]))


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    check_frame(pandas.read_parquet(write("parquet", tmp_path / "out.parquet")))


def test_sed_eval_tsv(tmp_path: Path) -> None:
    frame = pandas.read_csv(write("tsv", tmp_path / "out.tsv"), sep="\t")
    assert list(frame.columns) == ["filename", "onset", "offset", "event_label"]
    assert list(frame.event_label) == [row.label for _, row in ROWS]
    assert list(frame.filename) == [str(result.path) for result, _ in ROWS]
    np.testing.assert_allclose(frame.offset, [row.offset for _, row in ROWS], atol=1e-6)


def test_audacity_labels_run_on(tmp_path: Path) -> None:
    lines = write("audacity", tmp_path / "out.txt").read_text("utf-8").splitlines()
    fields = [line.split("\t") for line in lines]
    assert [label for _, _, label in fields] == [row.label for _, row in ROWS]
    expected = [(0, 2.5), (1.25, 12.5), (15.5, 15.5 + 1 / 3)]
    np.testing.assert_allclose([(float(a), float(b)) for a, b, _ in fields], expected, atol=1e-6)


def test_raven_selections_run_on_and_point_into_their_file(tmp_path: Path) -> None:
    frame = pandas.read_csv(write("raven", tmp_path / "out.txt"), sep="\t")
    assert list(frame.Selection) == [1, 2, 3]
    np.testing.assert_allclose(frame["Begin Time (s)"], [0, 1.25, 15.5])
    np.testing.assert_allclose(frame["End Time (s)"], [2.5, 12.5, 15.5 + 1 / 3], atol=1e-6)
    np.testing.assert_allclose(frame["File Offset (s)"], [0, 1.25, 0])
    assert list(frame["Begin File"]) == [result.path.name for result, _ in ROWS]
    assert [Path(path) for path in frame["Begin Path"]] == [result.path.absolute() for result, _ in ROWS]
    assert set(frame["Low Freq (Hz)"]) == {0}
    assert set(frame["High Freq (Hz)"]) == {8000}
    assert list(frame.Label) == [row.label for _, row in ROWS]
    np.testing.assert_allclose(frame.Score, [row.score for _, row in ROWS], rtol=1e-5)


def test_home_predictions_have_every_recording(tmp_path: Path) -> None:
    with write("home", tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.reader(file))
    assert records == [
        ["video_id", "predicted_label"],
        ["a", 'Railroad car, "train" wagon,Bébé, qui pleure'],
        ["b", ""],
        ["c", "雨"],
    ]


def test_tables_show_files_scores_and_classes(tmp_path: Path) -> None:
    text = write("table", tmp_path / "out.txt").read_text("utf-8")
    for expected in ("Straße, laut.wav", "silent.wav", "nothing reaches", "0.750", '"train" wagon', "2.50", "雨"):
        assert expected in text


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "parquet"])
def test_nothing_but_the_format_goes_to_standard_output(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_writer(format, None) as writer:
        writer.write(RESULTS[0])
    captured = capsys.readouterr()
    assert "train" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("format", FORMATS)
def test_a_failure_leaves_the_earlier_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), open_writer(format, path) as writer:
        writer.write(RESULTS[0])
        assert path.read_text() == "earlier"
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("format", FORMATS)
def test_no_recordings_make_a_readable_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / "new folder" / "out"
    with open_writer(format, path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    if format == "parquet":
        assert len(pandas.read_parquet(path)) == 0
    elif format in ("csv", "tsv", "raven", "home"):
        assert len(path.read_text().splitlines()) == 1


def test_impossible_outputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="format"), open_writer("xls", None):
        pass
    with pytest.raises(OptionError, match="Parquet"), open_writer("parquet", None):
        pass
    with pytest.raises(OptionError, match="folder"), open_writer("csv", tmp_path):
        pass


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_results_are_read_back(tmp_path: Path, format: str) -> None:
    results = read_results(write(format, tmp_path / "out"), format)
    assert [result.path for result in results] == [RESULTS[0].path, RESULTS[2].path]
    for read, written in zip(results, (RESULTS[0], RESULTS[2]), strict=True):
        for mine, theirs in zip(read.rows, written.rows, strict=True):
            assert (mine.label, mine.mid) == (theirs.label, theirs.mid)
            assert mine.offset == pytest.approx(theirs.offset, abs=1e-6)
            assert mine.score == pytest.approx(theirs.score, rel=1e-5)


@pytest.mark.parametrize(("format", "content"), [("csv", "a,b\n1,2\n"), ("jsonl", "{\n"), ("jsonl", "[1]\n")])
def test_other_files_are_not_read_back(tmp_path: Path, format: str, content: str) -> None:
    path = tmp_path / "out"
    path.write_text(content)
    with pytest.raises(OptionError, match="not an earlier output"):
        read_results(path, format)
    with pytest.raises(OptionError, match="cannot be resumed"):
        read_results(path, "tsv")


def test_embeddings(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    collector = EmbeddingCollector(path, "mn10_as")
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)
    for index, vector in enumerate(vectors):
        collector.add(Path(f"{index}.wav"), 0.5 * index, 2.0, vector)
    collector.save()
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["embeddings"], vectors)
        assert list(file["filenames"]) == ["0.wav", "1.wav"]
        np.testing.assert_array_equal(file["onsets"], [0, 0.5])
        np.testing.assert_array_equal(file["offsets"], [2, 2])
        assert str(file["model"]) == "mn10_as"
    EmbeddingCollector(path, "none").save()
    with np.load(path) as file:
        assert file["embeddings"].shape[0] == 0


@pytest.mark.parametrize("format", FORMATS)
def test_names_that_are_not_valid_text_can_be_written(format: str, tmp_path: Path) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    name = os.fsdecode(b"caf\xe9.wav")
    with open_writer(format, tmp_path / "out", high_frequency=8000.0) as writer:
        writer.write(Result(Path(name).stem, Path(name), 1.0, (Row(0.0, 1.0, "Dog", "/m/1", 0.5),)))
    content = (tmp_path / "out").read_bytes()
    assert (b"caf\\udce9" if format == "parquet" else b"Dog" if format == "audacity" else b"caf\xe9") in content
