"""The verb with a model that hears three tones (tests/inference/conftest.py), loaded by a name of the test's own."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pandas
import pytest
import torch
from click.testing import CliRunner, Result

from audiotag.cli.infer import infer
from audiotag.data.clips import Clip
from audiotag.errors import AudiotagError, OptionError
from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import WindowScores
from audiotag.models.model import Model


@pytest.fixture(scope="session")
def tones() -> ModuleType:
    path = Path(__file__).parents[1] / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tone_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def loaded(tones: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    asked: list[tuple[str, dict[str, object]]] = []

    def load_model(name: str, **settings: object) -> Model:
        asked.append((name, settings))
        thresholds = np.array([0.5, 0.999, 0.5]) if name == "tuned" else None
        made: Model = tones.tone_model(name=name, thresholds=thresholds)
        return made

    monkeypatch.setattr("audiotag.models.loading.load_model", load_model)
    return asked


Run = Callable[..., Result]


@pytest.fixture
def run(loaded: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(infer, [str(argument) for argument in arguments] + ["--device", "cpu"])

    return call


@pytest.fixture
def recordings(tones: ModuleType, tmp_path: Path) -> Iterator[Path]:
    import soundfile

    folder = tmp_path / "sounds"
    folder.mkdir()
    made = {"low.wav": (2.0, (0, 0.0, 2.0)), "mixed.flac": (12.0, (1, 2.0, 6.0), (2, 8.0, 12.0)), "short.ogg": (0.3,)}
    for name, (seconds, *parts) in made.items():
        soundfile.write(folder / name, tones.tones(seconds, *parts), tones.RATE)
    yield Path("sounds")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_tags_of_a_folder_as_a_table(run: Run, recordings: Path) -> None:
    result = run(recordings)
    assert result.exit_code == 0, result.output
    for expected in ("low.wav", "mixed.flac", "short.ogg", "Middle, of three", "score"):
        assert expected in result.stdout
    assert "Tagged 3 recordings, 14 s of sound" in result.stderr
    assert "files/s" in result.stderr and "real time" in result.stderr


def test_standard_output_holds_the_csv_alone(run: Run, recordings: Path) -> None:
    result = run(recordings, "--format", "csv", "--top", 1)
    found = rows(result.stdout)
    assert [row["filename"] for row in found] == ["sounds/low.wav", "sounds/mixed.flac", "sounds/short.ogg"]
    assert found[0]["event_label"] == "Low"
    assert float(found[0]["score"]) > 0.9
    assert (found[0]["onset"], found[0]["offset"]) == ("0", "2")


def test_what_a_network_prints_is_no_result(
    run: Run, recordings: Path, tones: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = type(tones.tone_model(name="x", thresholds=None).backbone)
    original = network.forward_spectrogram

    def chatty(self: object, *arguments: object) -> object:
        print("thinking")
        return original(self, *arguments)

    monkeypatch.setattr(network, "forward_spectrogram", chatty)
    result = run(recordings, "--format", "csv", "--top", 1)
    assert result.exit_code == 0 and len(rows(result.stdout)) == 3
    assert "thinking" not in result.stdout and "thinking" in result.stderr


def test_threshold_and_top(run: Run, recordings: Path) -> None:
    low = recordings / "low.wav"
    assert len(rows(run(low, "--format", "csv").stdout)) == 3
    assert [row["event_label"] for row in rows(run(low, "--format", "csv", "--threshold", 0.5).stdout)] == ["Low"]
    assert len(rows(run(low, "--format", "csv", "--threshold", 0.001, "--top", 2).stdout)) == 2
    assert run(low, "--threshold", "high").exit_code == 2


def test_tuned_thresholds(run: Run, recordings: Path) -> None:
    arguments = (recordings / "mixed.flac", "--format", "csv", "--window", 2, "--hop", 1)
    labels = {row["event_label"] for row in rows(run(*arguments, "--model", "tuned").stdout)}
    assert labels == {"High"}
    labels = {row["event_label"] for row in rows(run(*arguments, "--model", "tuned", "--threshold", 0.5).stdout)}
    assert labels == {"High", "Middle, of three"}
    failure = run(*arguments, "--threshold", "tuned")
    assert isinstance(failure.exception, OptionError)
    assert "tuned" in str(failure.exception)


def test_windows_become_events(run: Run, recordings: Path) -> None:
    result = run(recordings, "--window", 2, "--hop", 0.5, "--format", "tsv")
    assert result.exit_code == 0
    frame = pandas.read_csv(io.StringIO(result.stdout), sep="\t")
    assert list(frame.columns) == ["filename", "onset", "offset", "event_label"]
    mixed = frame[frame.filename == "sounds/mixed.flac"]
    assert list(mixed.event_label) == ["Middle, of three", "High"]
    np.testing.assert_allclose(mixed[["onset", "offset"]], [[2, 6], [8, 12]], atol=1.0)
    assert mixed.offset.max() <= 12


def test_events_of_the_models_own_length_merged_and_left_out(run: Run, recordings: Path) -> None:
    mixed = recordings / "mixed.flac"
    assert len(rows(run(mixed, "--events", "--format", "csv").stdout)) == 2
    assert len(rows(run(mixed, "--min-duration", 99, "--format", "csv").stdout)) == 0
    assert len(rows(run(mixed, "--events", "--top", 1, "--format", "csv").stdout)) == 1


def test_tags_of_each_window(run: Run, recordings: Path) -> None:
    result = run(recordings / "mixed.flac", "--window", 4, "--hop", 4, "--per-window", "--top", 1, "--format", "csv")
    found = rows(result.stdout)
    assert [(row["onset"], row["offset"]) for row in found] == [("0", "4"), ("4", "8"), ("8", "12")]
    assert found[2]["event_label"] == "High"


def test_broken_recordings_are_reported_and_the_rest_goes_on(run: Run, recordings: Path) -> None:
    (recordings / "broken.wav").write_text("hello")
    for mode in ((), ("--window", 2)):
        result = run(recordings, "nothing.wav", "--format", "csv", *mode)
        assert result.exit_code == 1
        assert {row["filename"] for row in rows(result.stdout)} >= {"sounds/low.wav", "sounds/mixed.flac"}
        assert "Error: sounds/broken.wav: it cannot be read" in result.stderr
        assert "Error: nothing.wav: the file does not exist" in result.stderr
        assert "2 of 5 recordings could not be read" in result.stderr


def test_strict_stops_at_the_first(run: Run, recordings: Path) -> None:
    (recordings / "a.wav").write_text("hello")
    output = Path("out.csv")
    result = run(recordings / "low.wav", recordings, "--strict", "--format", "csv", "--output", output)
    assert result.exit_code == 1
    assert "a.wav" in result.stderr
    assert {row["filename"] for row in rows(output.read_text())} == {"sounds/low.wav"}


def test_output_and_embeddings(run: Run, recordings: Path) -> None:
    result = run(recordings, "--format", "jsonl", "--output", "new/out.jsonl", "--embeddings", "new/vectors.npz")
    assert result.exit_code == 0
    assert result.stdout == ""
    found = [json.loads(line) for line in Path("new/out.jsonl").read_text().splitlines()]
    assert len(found) == 9
    with np.load("new/vectors.npz") as vectors:
        assert vectors["embeddings"].shape == (3, 3)
        assert list(vectors["filenames"]) == sorted({row["filename"] for row in found})
    run(recordings / "mixed.flac", "--window", 4, "--embeddings", "windows.npz")
    with np.load("windows.npz") as vectors:
        np.testing.assert_array_equal(vectors["onsets"], [0, 2, 4, 6, 8])


def test_home_predictions(run: Run, recordings: Path) -> None:
    found = rows(run(recordings, "--format", "home").stdout)
    assert [row["video_id"] for row in found] == ["low", "mixed", "short"]
    assert found[0]["predicted_label"] == "Low"
    assert found[2]["predicted_label"] == ""


def test_a_manifest_names_clips(run: Run, recordings: Path) -> None:
    manifest = Path("list.json")
    manifest.write_text(json.dumps({"data": [{"video_id": "clip 7", "wav": "sounds/low.wav"}]}))
    assert rows(run(manifest, "--format", "home").stdout)[0]["video_id"] == "clip 7"


def test_resuming_adds_what_is_missing(run: Run, recordings: Path) -> None:
    arguments = (recordings, "--format", "csv", "--output", "out.csv", "--resume")
    run(recordings / "mixed.flac", *arguments[1:])
    first = Path("out.csv").read_text()
    result = run(*arguments)
    assert "Tagged 2 recordings" in result.stderr and "1 were done before" in result.stderr
    assert Path("out.csv").read_text().startswith(first)
    assert {row["filename"] for row in rows(Path("out.csv").read_text())} == {
        "sounds/low.wav",
        "sounds/mixed.flac",
        "sounds/short.ogg",
    }
    assert "Tagged 0 recordings" in run(*arguments).stderr


def test_ensembles(run: Run, recordings: Path, loaded: list[tuple[str, dict[str, object]]]) -> None:
    result = run(recordings, "--ensemble", "one,two", "--ensemble", "three", "--combine", "probabilities")
    assert result.exit_code == 0
    assert [name for name, _ in loaded] == ["one", "two", "three"]
    assert "--ensemble names no model" in str(run(recordings, "--ensemble", ",").exception)
    failure = run(recordings, "--ensemble", "one,two", "--model", "three")
    assert isinstance(failure.exception, OptionError)


def test_the_models_settings_are_passed_on(
    run: Run, recordings: Path, tmp_path: Path, loaded: list[tuple[str, dict[str, object]]]
) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"")
    run(recordings, "--model", "mine", "--weights", weights, "--labels", "home", "--option", "width_mult=0.5")
    name, settings = loaded[0]
    assert name == "mine"
    assert (settings["weights"], settings["labels"]) == (weights, "home")
    assert settings["options"] == {"width_mult": 0.5}


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--format", "parquet"), "parquet"),
        (("--format", "home", "--window", "2"), "home"),
        (("--per-window", "--merge", "1"), "merge"),
        (("--per-window", "--median", "1"), "--median: about events"),
        (("--resume",), "resume"),
        (("--window", "2", "--hop", "3"), "hop"),
        (("--resume", "--format", "parquet", "--output", "new"), "resumed"),
        (("--resume", "--output", "earlier"), "its record .earlier.resume is missing"),
        (("--output", "tags.xlsx"), ".jsonl"),
        (("--output", "tags.csv.gz"), ".jsonl"),
        (("--output", "sounds"), "folder"),
        (("--output", "earlier/tags.csv"), "is a file"),
        (("--output", f"{'x' * 300}.csv"), "cannot be written"),
        (("--embeddings", "same.npz", "--output", "same.npz", "--format", "csv"), "named twice"),
    ],
)
def test_options_that_do_not_go_together(run: Run, recordings: Path, arguments: tuple[str, ...], cause: str) -> None:
    Path("earlier").write_text("")
    failure = run(recordings, *arguments)
    assert isinstance(failure.exception, AudiotagError)
    assert cause in str(failure.exception)


def test_embeddings_have_one_ending(run: Run, recordings: Path, loaded: list[object]) -> None:
    result = run(recordings, "--embeddings", "vectors.csv")
    assert result.exit_code == 2
    assert "vectors.csv: this file is written as .npz" in result.output
    assert not loaded


def test_a_name_that_looks_like_markup_is_printed_as_it_is(run: Run, recordings: Path) -> None:
    path = recordings / "low.wav"
    path = path.rename(path.with_name("[red]low[1].wav"))
    assert "[red]low[1].wav" in run(path).stdout
    assert "[bold]nothing.wav" in run("[bold]nothing.wav").stderr + str(run("[bold]nothing.wav").exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--window", 0),
        ("--window", "inf"),
        ("--hop", -1),
        ("--window", 1, "--hop", 2),
        ("--events", "--merge", -1),
        ("--events", "--median", -1),
        ("--median", 61),
        ("--low-threshold", 0.6, "--threshold", 0.5),
        ("--low-threshold", 1.5),
        ("--events", "--min-duration", "nan"),
        ("--threshold", "nan"),
        ("--threshold", 1.5),
        ("--threshold", "-0.1"),
        ("--threshold", "1e400"),
        ("--merge", "inf"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_loaded_or_written(
    run: Run, recordings: Path, loaded: list[object], arguments: tuple[object, ...]
) -> None:
    result = run(recordings, "--format", "csv", *arguments)
    assert isinstance(result.exception, OptionError)
    assert not result.stdout and not loaded


def test_the_ending_of_the_output_tells_the_format(run: Run, recordings: Path) -> None:
    low = recordings / "low.wav"
    for name in ("tags.csv", "tags.CSV"):
        assert run(low, "--output", name).exit_code == 0
        assert rows(Path(name).read_text())[0]["event_label"] == "Low"
    run(low, "--output", "tags.jsonl")
    assert json.loads(Path("tags.jsonl").read_text().splitlines()[0])["event_label"] == "Low"
    run(low, "--output", "tags.csv", "--format", "home", "--overwrite")
    assert Path("tags.csv").read_text().startswith("video_id")
    run(low, "--output", "tags.json")
    assert json.loads(Path("tags.json").read_text())["recordings"][0]["events"][0]["event_label"] == "Low"
    run(low, "--output", "tags")
    assert "score" in Path("tags").read_text()
    run(low, "--output", "tags.txt", "--format", "table")
    assert "score" in Path("tags.txt").read_text()


def test_no_recording_and_no_list_is_written_over(run: Run, recordings: Path) -> None:
    low = recordings / "low.wav"
    Path("list.json").write_text(json.dumps({"data": [{"wav": str(low), "labels": "x"}]}))
    Path("link.csv").symlink_to("list.json")
    Path("link.npz").symlink_to(low)
    before = low.read_bytes()
    for paths, option, output in (
        ([low], "--output", low),
        ([low], "--embeddings", "link.npz"),
        ([recordings], "--output", low),
        (["list.json"], "--output", "list.json"),
        (["list.json"], "--output", "link.csv"),
        (["list.json"], "--output", low),
        ([low], "--output", "model.pt"),
    ):
        Path("model.pt").write_text("weights")
        refused = run(*paths, "--weights", "model.pt", option, output, "--overwrite", "--format", "csv")
        assert isinstance(refused.exception, OptionError) and "would be overwritten" in str(refused.exception)
    assert low.read_bytes() == before
    Path("kept/best").mkdir(parents=True)
    for option, name, marker in (
        ("--model", "kept/best", "kept/best/audiotag.json"),
        ("--model", "kept", "kept/run.json"),
        ("--ensemble", "mn10_as,kept/best", "kept/best/audiotag.json"),
    ):
        for output in (Path(marker), Path("kept/best/model.safetensors")):
            output.write_text("kept")
            Path(marker).touch()
            refused = run(low, option, name, "--output", output, "--overwrite", "--format", "csv")
            assert isinstance(refused.exception, OptionError) and "is a part of kept" in str(refused.exception)
            assert output.read_text() == "kept"
    run(recordings, "--output", recordings / "tags.csv")
    assert run(recordings, "--output", recordings / "tags.csv", "--overwrite").exit_code == 0
    refused = run(low, "--format", "csv", "--output", "one.npz", "--embeddings", "one.npz")
    assert isinstance(refused.exception, OptionError) and "named twice" in str(refused.exception)
    assert not Path("one.npz").exists()


def test_a_result_is_replaced_only_when_that_is_asked_for(run: Run, recordings: Path) -> None:
    low = recordings / "low.wav"
    run(low, "--output", "tags.csv", "--embeddings", "tags.npz")
    before = Path("tags.csv").read_bytes()
    for output in ("--output", "tags.csv"), ("--embeddings", "tags.npz"):
        refused = run(low, *output, "--top", "1")
        assert isinstance(refused.exception, OptionError) and "replace it with --overwrite" in str(refused.exception)
    assert Path("tags.csv").read_bytes() == before
    run(low, "--output", "tags.csv", "--top", "1", "--overwrite")
    assert len(rows(Path("tags.csv").read_text())) == 1


def test_the_formats_that_the_help_names_are_the_cores() -> None:
    (option,) = (
        parameter for parameter in infer.params if isinstance(parameter, click.Option) and parameter.name == "format_"
    )
    named = re.match(r"Output format: (.*), or one of a plugin", option.help or "")
    host = get_host()
    own = [spec.name for record, spec in host.writers.everything() if record.distribution == "audiotag"]
    assert named is not None and named[1].split(", ") == own


PARTS = "path,labels,start,stop\nsounds/mixed.flac,,0,4\nsounds/mixed.flac,,4,8\nsounds/mixed.flac,,8,\n"


@pytest.mark.parametrize("mode", [("--threshold", 0.3), ("--window", 2, "--hop", 1), ("--window", 2, "--per-window")])
def test_times_of_parts_count_from_the_beginning_of_the_recording(
    run: Run, recordings: Path, mode: tuple[object, ...]
) -> None:
    Path("parts.csv").write_text(PARTS)
    found = rows(run("parts.csv", *mode, "--format", "csv", "--embeddings", "vectors.npz").stdout)
    times = {label: [] for label in ("Middle, of three", "High")}
    for row in found:
        if float(row["score"]) > 0.3:
            times[row["event_label"]] += [float(row["onset"]), float(row["offset"])]
    # Two seconds of the first part and two of the second; the last, whole.
    assert (min(times["High"]), max(times["High"])) == (8, 12)
    assert 0 <= min(times["Middle, of three"]) <= 2 and 6 <= max(times["Middle, of three"]) <= 8
    with np.load("vectors.npz") as vectors:
        assert list(dict.fromkeys(vectors["ids"])) == [f"sounds/mixed.flac@{part}" for part in ("0-4", "4-8", "8-end")]
        assert (min(vectors["onsets"]), max(vectors["offsets"])) == (0, 12)


def test_one_part_done_is_not_all_of_the_recording_done(run: Run, recordings: Path) -> None:
    Path("parts.csv").write_text("\n".join(PARTS.splitlines()[:2]))
    assert "Tagged 1 recording," in run("parts.csv", "--output", "out.csv").stderr
    Path("parts.csv").write_text(PARTS)
    result = run("parts.csv", "--output", "out.csv", "--resume")
    assert "Tagged 2 recordings" in result.stderr and "1 were done before" in result.stderr
    assert [(row["onset"], row["offset"]) for row in rows(Path("out.csv").read_text())] == [
        *[("0", "4")] * 3,
        *[("4", "8")] * 3,
        *[("8", "12")] * 3,
    ]


def test_every_id_of_a_recording_has_its_line_also_where_a_run_stopped_between_them(run: Run, recordings: Path) -> None:
    entries = [{"video_id": name, "wav": "sounds/low.wav"} for name in ("one", "two", "three")]
    Path("list.json").write_text(json.dumps({"data": entries[:2]}))
    run("list.json", "--format", "home", "--output", "out")
    Path("list.json").write_text(json.dumps({"data": entries}))
    assert "Tagged 1 recording," in run("list.json", "--format", "home", "--output", "out", "--resume").stderr
    assert [row["video_id"] for row in rows(Path("out").read_text())] == ["one", "two", "three"]


def test_parts_in_tables_that_lay_recordings_end_to_end(run: Run, recordings: Path) -> None:
    Path("parts.csv").write_text(PARTS.removesuffix("sounds/mixed.flac,,8,\n") + "sounds/low.wav,,,\n")
    found = rows(run("parts.csv", "--top", 1, "--format", "raven").stdout.replace("\t", ","))
    assert [(row["Begin Time (s)"], row["File Offset (s)"]) for row in found] == [("0", "0"), ("4", "4"), ("12", "0")]


def test_a_file_called_dash_is_not_written(run: Run, recordings: Path) -> None:
    assert "a file called - is hardly meant" in str(run(recordings, "--output", "-").exception)
    assert not Path("-").exists()


def test_resuming_with_another_model_or_setting_is_refused(run: Run, recordings: Path) -> None:
    run(recordings, "--output", "out.csv")
    before = Path("out.csv").read_text()
    for arguments, difference in (
        (("--model", "tuned"), "model was mn10_as and is tuned"),
        (("--threshold", 0.25), "threshold was not given and is 0.25"),
        (("--window", 2), "mode was clips and is events, window was not given and is 2.0"),
    ):
        failure = run(recordings, "--output", "out.csv", "--resume", *arguments)
        assert isinstance(failure.exception, OptionError)
        assert difference in str(failure.exception)
        assert Path("out.csv").read_text() == before


def test_resuming_counts_recordings_in_which_nothing_was_heard(run: Run, recordings: Path) -> None:
    arguments = (recordings, "--threshold", 0.9, "--output", "out.csv")
    run(*arguments)
    assert {row["filename"] for row in rows(Path("out.csv").read_text())} == {"sounds/low.wav"}
    assert "Tagged 0 recordings" in run(*arguments, "--resume").stderr


def test_ctrl_c_keeps_what_was_done_and_leaves_an_earlier_file(
    run: Run, recordings: Path, tones: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "score_windows", interrupted_at("short.ogg"))
        result = run(recordings, "--window", 2, "--per-window", "--output", "out.csv")
        assert result.exit_code == 1 and "Interrupted" in result.stderr
        done = Path("out.csv").read_text()
        assert {row["filename"] for row in rows(done)} == {"sounds/low.wav", "sounds/mixed.flac"}
    assert (
        "2 were done before" in run(recordings, "--window", 2, "--per-window", "--output", "out.csv", "--resume").stderr
    )
    assert Path("out.csv").read_text().startswith(done)
    Path("out.csv").write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "score_windows", interrupted_at("short.ogg"))
        result = run(recordings, "--window", 2, "--per-window", "--output", "out.csv", "--overwrite")
        assert "The earlier file is as it was" in result.stderr and ".out.csv.part" in result.stderr
    assert Path("out.csv").read_text() == "earlier"
    assert Path(".out.csv.part").read_text() == done


def interrupted_at(name: str) -> Callable[..., Iterator[WindowScores]]:
    """`Tagger.score_windows`, as if Ctrl-C were pressed when the recording *name* begins."""
    score_windows = Tagger.score_windows

    def interrupted(tagger: Tagger, clip: Clip, *arguments: Any, **settings: Any) -> Iterator[WindowScores]:
        if clip.path.name == name:
            raise KeyboardInterrupt
        return score_windows(tagger, clip, *arguments, **settings)

    return interrupted


def test_scores_that_are_not_finite_are_an_error_of_the_recording(
    run: Run, recordings: Path, tones: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = tones.ToneNet.forward_head

    def sometimes(self: object, head_input: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = forward(self, head_input)
        return torch.where(logits[:, 2:] > 0, torch.nan, logits)

    monkeypatch.setattr(tones.ToneNet, "forward_head", sometimes)
    for mode in ((), ("--threshold", 0.5), ("--window", 2)):
        result = run(recordings, "--format", "jsonl", *mode)
        assert result.exit_code == 1
        assert "Error: sounds/mixed.flac: " in result.stderr and "are not finite" in result.stderr
        assert "sounds/low.wav" in result.stdout and "NaN" not in result.stdout


def test_an_unset_variable_is_not_the_current_folder(run: Run, recordings: Path, loaded: list[object]) -> None:
    for empty in ("", "  "):
        failure = run(empty)
        assert isinstance(failure.exception, OptionError)
        assert "a path is empty" in str(failure.exception)
    assert not loaded


def test_a_folder_that_cannot_be_searched_is_reported_and_the_rest_goes_on(
    run: Run, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recordings / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    result = run(recordings, "--format", "csv")
    assert result.exit_code == 1
    assert "Error: sounds/closed: the folder cannot be searched: Permission denied" in result.stderr
    assert "Tagged 3 recordings" in result.stderr


def test_no_model_is_loaded_for_recordings_that_are_not_there(run: Run, loaded: list[object]) -> None:
    failure = run("missing.wav", "gone.wav").exception
    assert isinstance(failure, AudiotagError) and str(failure) == "missing.wav: no such recording. Check the path."
    assert not loaded


def test_models_behind_ensemble_are_not_taken_for_recordings(run: Run) -> None:
    failure = run("--ensemble", "home10", "home10").exception
    assert isinstance(failure, OptionError) and "home10: models, not recordings" in str(failure)
    assert "--ensemble A,B" in str(failure)


def test_quiet_says_nothing_but_problems(run: Run, recordings: Path) -> None:
    good = run(recordings, "--quiet", "--format", "csv")
    assert good.exit_code == 0 and good.stdout and good.stderr == ""
    (recordings / "broken.wav").write_bytes(b"RIFF")
    try:
        bad = run(recordings, "--quiet", "--format", "csv")
    finally:
        (recordings / "broken.wav").unlink()
    assert bad.exit_code == 1 and "broken.wav" in bad.stderr and "could not be read" in bad.stderr
    assert "Tagged" not in bad.stderr
