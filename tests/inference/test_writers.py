from __future__ import annotations

import csv
import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from audiotag.data.clips import Clip
from audiotag.data.detections import COLUMNS
from audiotag.errors import AudioError, OptionError, PluginError, UnknownNameError
from audiotag.host import get_host
from audiotag.inference.events import Event
from audiotag.inference.writers import (
    EmbeddingCollector,
    Result,
    format_of,
    open_output,
)
from audiotag.printing import PrintableStream

FORMATS = tuple(get_host().writers)

RESULTS = [
    Result(
        Clip("a", Path("ordner/Straße, laut.wav")),
        12.5,
        (
            Event(0.0, 2.5, 'Railroad car, "train" wagon', "/m/1", 0.75),
            Event(1.25, 12.5, "Bébé, qui pleure", "/m/2", 0.5123),
        ),
    ),
    Result(Clip("b", Path("silent.wav")), 3.0, ()),
    Result(Clip("c", Path("tab\tand\nline.wav")), 1.0 / 3, (Event(0.0, 1.0 / 3, "雨", "/m/3", 0.9),)),
]

ROWS = [(result, row) for result in RESULTS for row in result.rows]


def write(format: str, path: Path) -> Path:
    with open_output(format, path, high_frequency=8000.0) as writer:
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


@pytest.mark.parametrize(("mode", "timed"), [("events", True), ("clips", False)])
def test_tables_show_when_events_are_heard_even_all_along(tmp_path: Path, mode: str, timed: bool) -> None:
    with open_output("table", tmp_path / "out.txt", made_by={"mode": mode}) as writer:
        writer.write(RESULTS[2])
    assert ("onset" in (tmp_path / "out.txt").read_text("utf-8")) is timed


def test_tables_show_files_scores_and_classes(tmp_path: Path) -> None:
    text = write("table", tmp_path / "out.txt").read_text("utf-8")
    for expected in ("Straße, laut.wav", "silent.wav", "nothing reaches", "0.750", '"train" wagon', "2.50", "雨"):
        assert expected in text


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "parquet"])
def test_nothing_but_the_format_goes_to_standard_output(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_output(format, None) as writer:
        writer.write(RESULTS[0])
    captured = capsys.readouterr()
    assert "train" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("format", FORMATS)
def test_a_failure_leaves_the_earlier_file_and_what_was_done(tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), open_output(format, path, high_frequency=8000.0) as output:
        output.write(RESULTS[0])
        assert path.read_text() == "earlier"
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert output.kept == tmp_path / ".out.part"
    path.unlink()
    if format == "parquet":
        assert len(pandas.read_parquet(output.kept)) == 2
        return
    with open_output(format, path, resume=True, high_frequency=8000.0) as output:
        assert output.done == {RESULTS[0].place.key: 1}
        for result in RESULTS[1:]:
            output.write(result)
    assert path.read_bytes() == write(format, tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_a_failure_with_no_earlier_file_puts_there_what_was_done(tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    with pytest.raises(RuntimeError), open_output(format, path):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError), open_output(format, path) as output:
        output.write(RESULTS[0])
        raise RuntimeError
    assert output.kept is None
    assert not (tmp_path / ".out.part").exists()
    assert "Railroad" in (pandas.read_parquet(path).to_string() if format == "parquet" else path.read_text("utf-8"))


@pytest.mark.parametrize("format", FORMATS)
def test_no_recordings_make_a_readable_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / "new folder" / "out"
    with open_output(format, path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    if format == "parquet":
        assert len(pandas.read_parquet(path)) == 0
    elif format in ("csv", "tsv", "raven", "home"):
        assert len(path.read_text().splitlines()) == 1
    elif format == "json":
        assert json.loads(path.read_text())["recordings"] == []


def test_impossible_outputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="xls"), open_output("xls", None):
        pass
    with pytest.raises(OptionError, match="parquet cannot be printed"), open_output("parquet", None):
        pass
    with pytest.raises(OptionError, match="folder"), open_output("csv", tmp_path):
        pass


RESUMABLE = [name for name in FORMATS if name != "parquet"]


def start(format: str, path: Path, count: int, **settings: Any) -> None:
    """A run that is stopped after *count* results."""
    with open_output(format, path, high_frequency=8000.0, **settings) as output:
        for result in RESULTS[:count]:
            output.write(result)
        output.stopped = True


def go_on(format: str, path: Path, **settings: Any) -> int:
    """Write what is missing; the number of results that were there."""
    with open_output(format, path, resume=True, high_frequency=8000.0, **settings) as output:
        for result in RESULTS:
            if result.place.key not in output.done:
                output.write(result)
        return len(output.done)


@pytest.mark.parametrize("format", RESUMABLE)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_stopped_run_is_gone_on_with_to_the_byte(tmp_path: Path, format: str, count: int) -> None:
    """One in which nothing was heard (the second) counts as done."""
    path = tmp_path / "out"
    start(format, path, count)
    assert path.exists() == (count > 0)
    assert go_on(format, path) == count
    whole = write(format, tmp_path / "whole").read_bytes()
    assert path.read_bytes() == whole
    assert go_on(format, path) == 3
    assert path.read_bytes() == whole


@pytest.mark.parametrize("format", RESUMABLE)
def test_what_a_killed_run_has_left_is_gone_on_with_wherever_it_was_cut_off(tmp_path: Path, format: str) -> None:
    """The files of a killed run: everything up to some byte of the part, and of the record."""
    whole = write(format, tmp_path / "whole").read_bytes()
    record = (tmp_path / ".whole.resume").read_bytes()
    path = tmp_path / "out"
    for cut in range(0, len(whole) + 1, len(whole) // 10):
        for cut_record in (40, len(record) - 10, len(record)):
            (tmp_path / ".out.part").write_bytes(whole[:cut])
            (tmp_path / ".out.resume").write_bytes(record[:cut_record])
            path.unlink(missing_ok=True)
            go_on(format, path)
            assert path.read_bytes() == whole


def test_a_run_without_resume_does_not_throw_away_what_a_killed_one_has_left(tmp_path: Path) -> None:
    path = write("csv", tmp_path / "out")
    path.rename(tmp_path / ".out.part")
    with pytest.raises(OptionError, match=r"3 of its recordings done.*resume=True.*overwrite=True"):
        write("csv", path)
    assert go_on("csv", path) == 3
    path.rename(tmp_path / ".out.part")
    start("csv", path, 1, overwrite=True)
    assert go_on("csv", path) == 1


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with open_output("csv", path) as output:
        output.write(RESULTS[0])
        with pytest.raises(OptionError, match="another run"), open_output("csv", path):
            pass
    assert "Railroad" in path.read_text("utf-8")


def test_results_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    start("csv", path, 1, made_by={"model": "one", "threshold": 0.5, "weights": ["ab"]})
    before = path.read_bytes()
    with pytest.raises(OptionError, match=r'threshold was 0\.5 and is not given, weights was \["ab"\] and is \["cd"\]'):
        go_on("csv", path, made_by={"model": "one", "weights": ["cd"], "threshold": None})
    assert path.read_bytes() == before
    assert go_on("csv", path, made_by={"model": "one", "threshold": 0.5, "weights": ["ab"]}) == 1


def test_files_that_somebody_else_has_made_or_changed_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine\n")
    with pytest.raises(OptionError, match=r"its record \.out\.csv\.resume is missing"):
        go_on("csv", path)
    write("csv", path)
    content = path.read_bytes()
    for changed in (content.replace(b"0.75", b"0.76"), content + b"more\n", b"mine" + content):
        path.write_bytes(changed)
        with pytest.raises(OptionError, match="changed it"):
            go_on("csv", path)
        assert path.read_bytes() == changed
    path.write_bytes(content[:-5])
    assert go_on("csv", path) == 2
    assert path.read_bytes() == content
    record = tmp_path / ".out.csv.resume"
    record.write_bytes(record.read_bytes() + b"[]\n")
    with pytest.raises(OptionError, match=r"\.out\.csv\.resume, line 5: .*object"):
        go_on("csv", path)


@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_hidden_file_of_somebody_else_is_in_the_way(tmp_path: Path, format: str, resume: bool) -> None:
    """Names beside the output are ours only where their content says so."""
    path = tmp_path / "out"
    names = [".out.part"] if format == "parquet" else [".out.part", ".out.resume"]
    for name in names:
        for content in (b"mine", b"mine\n", b"{}\n"):
            (tmp_path / name).write_bytes(content)
            refused = pytest.raises(OptionError, match=r"parquet|\.out\..*in the way.*Move it away")
            with refused, open_output(format, path, resume=resume):
                pass
            assert (tmp_path / name).read_bytes() == content
        (tmp_path / name).unlink()
    assert not list(tmp_path.iterdir())
    for name in names:
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OptionError), open_output(format, path, resume=resume):
            pass
        (tmp_path / name).unlink()
    assert not list(tmp_path.iterdir())
    if format == "parquet" and not resume:  # what a killed run of ours has left may go
        (tmp_path / ".out.part").write_bytes(b"PAR1 and the rest")
        assert len(pandas.read_parquet(write(format, path))) > 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="/dev/full: the results cannot be written: No space"):
        write("csv", Path("/dev/full"))


def test_what_is_no_plain_file_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        text = pool.submit(pipe.read_text, "utf-8")
        write("csv", pipe)
        assert "Railroad" in text.result(timeout=10)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    link = tmp_path / "link.csv"
    link.symlink_to("real.csv")
    write("csv", link)
    assert link.is_symlink()
    assert "Railroad" in (tmp_path / "real.csv").read_text("utf-8")


PARTS = [
    Result(Clip("l@0-4", Path("l.wav"), stop=4.0), 4.0, (Event(1.0, 2.0, "Dog", "/m/1", 0.5),), 12.0),
    Result(Clip("l@4-8", Path("l.wav"), start=4.0, stop=8.0), 4.0, (Event(4.0, 8.0, "Dog", "/m/1", 0.5),), 12.0),
    Result(Clip("m", Path("m.wav")), 3.0, (Event(0.0, 3.0, "Dog", "/m/1", 0.5),)),
]


@pytest.mark.parametrize("format", ["audacity", "raven"])
def test_parts_of_a_recording_lie_in_it_and_it_lies_there_once(tmp_path: Path, format: str) -> None:
    path = tmp_path / "out.txt"
    with open_output(format, path) as output:
        for result in PARTS:
            output.write(result)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    times = [line[:2] for line in lines] if format == "audacity" else [line[3:5] for line in lines[1:]]
    assert [[float(time) for time in pair] for pair in times] == [[1, 2], [4, 8], [12, 15]]
    if format == "raven":
        assert [float(line[9]) for line in lines[1:]] == [1, 4, 0]


def test_a_table_names_the_part(tmp_path: Path) -> None:
    with open_output("table", tmp_path / "out") as output:
        for result in PARTS:
            output.write(result)
    assert "l.wav  4.0 to 8.0 s" in (tmp_path / "out").read_text()


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with open_output("json", path, made_by={"model": "mn"}) as output:
        for result in (*RESULTS, PARTS[1]):
            output.write(result)
    content = json.loads(path.read_text("utf-8"))
    assert content["made_by"] == {"model": "mn"}
    assert [entry["id"] for entry in content["recordings"]] == ["a", "b", "c", "l@4-8"]
    events = [{"filename": one["filename"], **event} for one in content["recordings"][:3] for event in one["events"]]
    check_frame(pandas.DataFrame(events))
    assert content["recordings"][1]["events"] == []
    assert (content["recordings"][3]["start"], content["recordings"][3]["seconds"]) == (4.0, 4.0)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error_of_the_recording(score: float) -> None:
    with pytest.raises(AudioError, match=r"x\.wav: the score of 'Dog' is (nan|inf)"):
        Result(Clip("x", Path("x.wav")), 1.0, (Event(0.0, 1.0, "Dog", "/m/1", score),))


def test_endings_tell_the_format() -> None:
    for name, format in {"a.CSV": "csv", "a.json": "json", "a.ndjson": "jsonl", "out": "table"}.items():
        assert format_of(Path(name)) == format
    assert format_of(None) == "table"
    for name in ("a.txt", "a.xlsx", "a.csv.gz", "a.b"):
        with pytest.raises(OptionError, match=r"\.jsonl.*format="):
            format_of(Path(name))


def test_csv_names_that_a_spreadsheet_would_compute(tmp_path: Path) -> None:
    result = Result(Clip("=x", Path("=x.wav")), 1.0, (Event(0.0, 1.0, "@SUM(1)", "-1", 0.5),))
    for verbatim, expected in (
        (False, [str(Path("./=x.wav")), "'@SUM(1)", "-1"]),
        (True, ["=x.wav", "@SUM(1)", "-1"]),
    ):
        path = tmp_path / f"{verbatim}.csv"
        with open_output("csv", path, verbatim=verbatim) as output:
            output.write(result)
        row = pandas.read_csv(path, dtype=str).iloc[0]
        assert [row.filename, row.event_label, row.mid] == (["./=x.wav", *expected[1:]] if not verbatim else expected)


def test_long_names_and_carriage_returns_are_gone_on_with(tmp_path: Path) -> None:
    name = "a\rb" + "c" * 140_000
    path = tmp_path / "out.csv"
    with open_output("csv", path) as output:
        output.write(Result(Clip("x", Path("x\r.wav")), 1.0, (Event(0.0, 1.0, name, "/m/1", 0.5),)))
    assert pandas.read_csv(path).event_label[0] == name
    with open_output("csv", path, resume=True) as output:
        assert len(output.done) == 1


def test_embeddings(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    collector = EmbeddingCollector("mn10_as")
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)
    for index, vector in enumerate(vectors):
        collector.add(Clip(f"clip {index}", Path(f"{index}.wav")), 0.5 * index, 2.0, vector)
    with pytest.raises(AudioError, match="not finite"):
        collector.add(Clip("x", Path("x.wav")), 0.0, 1.0, np.full(4, np.nan, dtype=np.float32))
    collector.save(path)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["embeddings"], vectors)
        assert list(file["filenames"]) == ["0.wav", "1.wav"]
        assert list(file["ids"]) == ["clip 0", "clip 1"]
        np.testing.assert_array_equal(file["onsets"], [0, 0.5])
        np.testing.assert_array_equal(file["offsets"], [2, 2])
        assert str(file["model"]) == "mn10_as"
    EmbeddingCollector("none").save(path)
    with np.load(path) as file:
        assert file["embeddings"].shape[0] == 0


@pytest.mark.parametrize("format", FORMATS)
def test_names_that_are_not_valid_text_can_be_written(format: str, tmp_path: Path) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    name = os.fsdecode(b"caf\xe9.wav")
    with open_output(format, tmp_path / "out", high_frequency=8000.0) as writer:
        writer.write(Result(Clip(Path(name).stem, Path(name)), 1.0, (Event(0.0, 1.0, "Dog", "/m/1", 0.5),)))
    content = (tmp_path / "out").read_bytes()
    assert (
        b"caf\\udce9" if format in ("parquet", "json", "jsonl") else b"Dog" if format == "audacity" else b"caf\xe9"
    ) in content


@pytest.mark.skipif(sys.platform != "linux", reason="others throw away what a closed terminal holds")
@pytest.mark.parametrize("format", ["csv", "tsv", "raven", "home", "jsonl"])
def test_names_do_not_steer_a_terminal_that_results_are_printed_to(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.openpty()
    with open(writer, "w", encoding="utf-8") as terminal:  # noqa: PTH123 # a handle, not a path
        monkeypatch.setattr(sys, "stdout", PrintableStream(terminal, coloured=True, errors="strict"))
        with open_output(format, None, high_frequency=8000.0) as output:
            output.write(Result(Clip("a", Path("\x1b[2J\x07.wav")), 1.0, (Event(0.0, 1.0, "\x1b[2J", "/m/1", 0.5),)))
    printed = b""
    with suppress(OSError):  # the end
        while part := os.read(reader, 10_000):
            printed += part
    os.close(reader)
    assert b"\\u001b[2J" in printed and not {*printed} & {0x1B, 0x07}


PLUGIN = """
from audiotag.plugin import WriterSpec, hookimpl

@hookimpl
def register_writers():
    return [
        WriterSpec(name="srt", factory="odd_writers:Subtitles", endings=(".srt",)),
        WriterSpec(name="count", factory="odd_writers:Count", endings=(".count",), magic=b"N"),
        WriterSpec(name="none", factory="odd_writers:nothing"),
    ]
"""
WRITERS = """
from audiotag.plugin import FileWriter, Writer

class Subtitles(Writer):
    head = "begin\\n"
    tail = "end\\n"

    def text(self, result):
        print("a word to the author")
        if result.path.name == "torn.wav":
            raise SystemExit(3)
        return "".join(f"{row.onset} {row.label} below {self.settings.high_frequency:g}\\n" for row in result.rows)

class Count(FileWriter):
    def __init__(self, settings, file):
        self.file, self.count = file, 0

    def write(self, result):
        self.count += 1

    def close(self):
        self.file.write(b"N%d" % self.count)

def nothing(settings):
    return None
"""


@pytest.fixture
def odd_writers(install_plugin, plugin_folder, monkeypatch):
    (plugin_folder / "odd_writers.py").write_text(WRITERS)
    install_plugin("audiotag-odd", PLUGIN, entry="odd")
    yield
    sys.modules.pop("odd_writers", None)


def test_a_format_of_a_plugin_is_written_and_gone_on_with_as_ours_are(odd_writers, tmp_path, capsys):
    path = tmp_path / "out.srt"
    assert format_of(path) == "srt"
    with open_output("srt", path) as output:
        output.write(RESULTS[0])
    with open_output("audiotag-odd:srt", path, resume=True, high_frequency=8000.0) as output:
        for result in RESULTS[1:]:
            output.write(result)
    lines = path.read_text().splitlines()
    assert lines[0] == "begin" and lines[-1] == "end"
    assert len(lines) == 2 + len(ROWS) and lines[-2].endswith("below 8000")
    out, err = capsys.readouterr()
    assert out == "" and "a word to the author" in err


def test_a_format_of_bytes_of_a_plugin(odd_writers, tmp_path):
    assert write(format_of(tmp_path / "x.count"), tmp_path / "x.count").read_bytes() == b"N3"
    for path, resume in ((None, False), (tmp_path / "y", True)):
        with pytest.raises(OptionError, match="count cannot be"), open_output("count", path, resume=resume):
            pass


def test_a_format_that_fails_is_named_and_what_was_done_is_kept(odd_writers, tmp_path):
    path = tmp_path / "out.srt"
    told = r"plugin 'odd' of audiotag-odd 1\.0: writing srt failed: SystemExit: 3"
    with pytest.raises(PluginError, match=told), open_output("srt", path) as output:
        output.write(RESULTS[0])
        output.write(Result(Clip("t", Path("torn.wav")), 1.0, ()))
    assert len(path.read_text().splitlines()) == 2 + len(RESULTS[0].rows)
    with pytest.raises(PluginError, match="returned NoneType, not a writer"), open_output("none", path, overwrite=True):
        pass


def test_an_unknown_format_has_close_ones():
    with (
        pytest.raises(UnknownNameError, match=r"no output format 'raven2'\. Did you mean 'raven'"),
        open_output("raven2", None),
    ):
        pass
