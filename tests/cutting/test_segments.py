"""Detections are cut out of recordings as they were asked for, and a list says what is in the files."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import audiotag
from audiotag.cli.main import main
from audiotag.csv_text import csv_text
from audiotag.cutting import SegmentSettings
from audiotag.cutting.choosing import choose
from audiotag.data import Detections, read_clips
from audiotag.data.detections import COLUMNS, DetectionBlock, DetectionRows
from audiotag.errors import AudioError, LabelError, OptionError
from audiotag.labels import Label, LabelSet

RATE = 8000
LABELS = LabelSet([Label("/m/dog", "Dog, barking"), Label("/m/cat", "Cat"), Label("=bird", "Bird/../x")])
Row = tuple[str, float, float, int, "float | None"]


def table(path: Path, *rows: Row) -> Path:
    """Detections as `audiotag infer` writes them."""
    cells = [(name, on, off, LABELS[k].name, LABELS[k].mid, score) for name, on, off, k, score in rows]
    path.write_text(csv_text([COLUMNS, *cells]), encoding="utf-8")
    return path


def recording(path: Path, seconds: float, seed: int = 0) -> np.ndarray[Any, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.random.default_rng(seed).integers(-32768, 32768, round(seconds * RATE), dtype=np.int16)
    soundfile.write(path, sound, RATE, subtype="PCM_16")
    return sound


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "segments.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["segments", *map(str, arguments)])


def sounds(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".flac", ".wav"))


@pytest.fixture
def found(tmp_path: Path) -> Path:
    recording(tmp_path / "a.wav", 10.0, 1)
    recording(tmp_path / "deep" / "a.wav", 5.0, 2)
    return table(
        tmp_path / "found.csv",
        ("a.wav", 1.0, 2.0, 0, 0.9),
        ("a.wav", 1.5, 2.5, 1, 0.8),
        ("a.wav", 9.5, 10.0, 0, 0.3),
        ("deep/a.wav", 1.0, 2.0, 0, 0.6),
        ("deep/a.wav", 3.0, 4.0, 2, 0.5),
    )


class TestWhatIsCut:
    def test_each_detection_is_a_file_called_by_what_when_and_where(self, found: Path, tmp_path: Path) -> None:
        done = run(found, "--output", tmp_path / "cut")
        assert done.exit_code == 0, done.output
        assert sounds(tmp_path / "cut") == [
            "Bird-..-x a 00003.000-00004.000.flac",
            "Cat a 00001.500-00002.500.flac",
            "Dog, barking a 00001.000-00002.000 (2).flac",
            "Dog, barking a 00001.000-00002.000.flac",
            "Dog, barking a 00009.500-00010.000.flac",
        ]
        assert "5 segments" in done.output

    @pytest.mark.parametrize("format", ["flac", "wav"])
    def test_samples_are_those_of_the_recording(self, tmp_path: Path, format: str) -> None:
        sound = recording(tmp_path / "a.wav", 60.0)
        times = [(0.0, 0.5), (0.25, 1.0), (7.125, 7.25), (50.0, 59.0), (59.5, 60.0)]
        rows: list[Row] = [("a.wav", on, off, 0, 0.5) for on, off in times]
        done = audiotag.segments(table(tmp_path / "found.csv", *rows), tmp_path / "cut", format=format)
        assert (done.files, done.written, done.failures) == (5, 5, ())
        for row, (on, off) in zip(listed(tmp_path / "cut"), times, strict=True):
            cut, rate = soundfile.read(tmp_path / "cut" / row["path"], dtype="int16")
            assert rate == RATE and soundfile.info(tmp_path / "cut" / row["path"]).subtype == "PCM_16"
            np.testing.assert_array_equal(cut, sound[round(on * RATE) : round(off * RATE)])
            assert (float(row["onset"]), float(row["offset"])) == (0.0, off - on)

    def test_padding_ends_with_the_recording(self, found: Path, tmp_path: Path) -> None:
        audiotag.segments(found, tmp_path / "cut", padding=1.25, classes=("Dog, barking",))
        seconds = [soundfile.info(tmp_path / "cut" / row["path"]).duration for row in listed(tmp_path / "cut")]
        assert seconds == [1.0 + 1.0 + 1.25, 1.25 + 0.5, 1.0 + 1.0 + 1.25]
        assert [float(row["onset"]) for row in listed(tmp_path / "cut")] == [1.0, 1.25, 1.0]

    def test_at_another_rate(self, found: Path, tmp_path: Path) -> None:
        audiotag.segments(found, tmp_path / "cut", sample_rate=16_000, format="wav", total=1)
        (name,) = sounds(tmp_path / "cut")
        assert (soundfile.info(tmp_path / "cut" / name).samplerate, soundfile.info(tmp_path / "cut" / name).frames) == (
            16_000, 16_000,
        )  # fmt: skip

    def test_overlapping_detections_can_be_one_file(self, found: Path, tmp_path: Path) -> None:
        audiotag.segments(found, tmp_path / "cut", overlaps="join")
        assert len(sounds(tmp_path / "cut")) == 4
        first, second, *_ = listed(tmp_path / "cut")
        assert first["path"] == second["path"] == "Dog, barking - Cat a 00001.000-00002.500.flac"
        assert [(row["onset"], row["offset"], row["labels"]) for row in (first, second)] == [
            ("0", "1", "/m/dog"), ("0.5", "1.5", "/m/cat"),
        ]  # fmt: skip
        audiotag.segments(found, tmp_path / "wide", overlaps="join", padding=4.0)
        assert len(sounds(tmp_path / "wide")) == 2

    def test_the_list_is_read_as_labelled_clips(self, found: Path, tmp_path: Path) -> None:
        audiotag.segments(found, tmp_path / "cut", overlaps="join", padding=0.25)
        clips = read_clips(tmp_path / "cut" / "segments.csv")
        assert sorted(clips.labels.mids) == ["/m/cat", "/m/dog", "=bird"]
        names = [[(one.onset, clips.labels[one.index].mid) for one in clip.events or ()] for clip in clips]
        assert names == [
            [(0.25, "/m/dog"), (0.75, "/m/cat")], [(0.25, "/m/dog")], [(0.25, "/m/dog")], [(0.25, "=bird")],
        ]  # fmt: skip
        assert dict(clips[0].extra)["recording"] == "a.wav"


def detections(*rows: tuple[int, float | None]) -> Detections:
    """Of (class, score), in one recording."""
    made = DetectionRows("made up")
    columns = {
        "filename": ["a.wav"] * len(rows), "onset": [*range(len(rows))], "offset": [*range(1, len(rows) + 1)],
        "event_label": [LABELS[k].mid for k, _ in rows], "score": [score for _, score in rows],
    }  # fmt: skip
    made.add(DetectionBlock(columns, str))
    return made.finish(Path(), Path(), LABELS)


class TestChoosing:
    @settings(max_examples=100, deadline=None)
    @given(
        rows=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1, width=32)), max_size=40),
        how=st.fixed_dictionaries(
            {"order": st.sampled_from(["highest", "random", "balanced"]), "seed": st.integers(0, 3)},
            optional={
                "classes": st.sets(st.sampled_from(LABELS.mids)).map(tuple),
                "per_class": st.integers(1, 9), "total": st.integers(1, 20),
                "min_score": st.floats(0, 0.5, width=32), "max_score": st.floats(0.5, 1, width=32),
            },
        ),
    )  # fmt: skip
    def test_what_is_taken_is_what_was_asked_for(self, rows: list[tuple[int, float]], how: dict[str, Any]) -> None:
        wanted = SegmentSettings(**how)
        found = detections(*rows)
        taken = choose(found, wanted)
        np.testing.assert_array_equal(taken, choose(found, wanted))
        assert (np.diff(taken) > 0).all()
        fitting = [
            place for place, (index, score) in enumerate(rows)
            if (not wanted.classes or LABELS[index].mid in wanted.classes)
            and (wanted.min_score is None or score >= wanted.min_score)
            and (wanted.max_score is None or score <= wanted.max_score)
        ]  # fmt: skip
        assert {*taken.tolist()} <= {*fitting}
        counts = Counter(rows[place][0] for place in fitting)
        of_each = {index: min(count, wanted.per_class or count) for index, count in counts.items()}
        assert len(taken) == min(sum(of_each.values()), wanted.total or len(rows))
        if wanted.total is None:
            assert Counter(rows[place][0] for place in taken.tolist()) == of_each
            if wanted.order == "highest":
                for index, count in of_each.items():
                    best = sorted((rows[place][1] for place in fitting if rows[place][0] == index), reverse=True)
                    own = sorted((rows[place][1] for place in taken.tolist() if rows[place][0] == index), reverse=True)
                    assert own == best[:count]

    def test_balanced_takes_as_many_from_each_tenth_of_the_scores(self) -> None:
        scores = [*np.linspace(0.9001, 1.0, 900), *np.linspace(0.0, 0.8999, 90)]
        found = detections(*((0, float(score)) for score in scores))
        taken = choose(found, SegmentSettings(order="balanced", per_class=50))
        counts = np.histogram(found.scores[taken], 10, (0, 1))[0]
        assert counts.tolist() == [5] * 10
        other = choose(found, SegmentSettings(order="balanced", per_class=50, seed=1))
        assert other.tolist() != taken.tolist()

    def test_balanced_serves_rare_classes_too(self) -> None:
        found = detections(*[(0, 0.5)] * 100, (1, 0.5), (2, 0.1))
        assert {*found.indices[choose(found, SegmentSettings(order="balanced", total=3))].tolist()} == {0, 1, 2}

    def test_what_has_no_score_can_be_taken_at_random(self) -> None:
        found = detections((0, None), (0, None), (1, 0.5))
        assert len(choose(found, SegmentSettings())) == 3
        assert len(choose(found, SegmentSettings(order="random", total=2))) == 2
        assert choose(found, SegmentSettings(classes=("Cat",), min_score=0.5)).tolist() == [2]
        for how in ({"min_score": 0.5}, {"total": 1}, {"per_class": 1, "order": "balanced"}):
            with pytest.raises(OptionError, match="2 detections have no score"):
                choose(found, SegmentSettings(**how))  # type: ignore[arg-type]

    def test_what_cannot_be(self, found: Path, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="there is no class 'Dgo'"):
            audiotag.segments(found, tmp_path / "cut", classes=("Dgo",))
        with pytest.raises(OptionError, match="none of the 5 detections is left"):
            audiotag.segments(found, tmp_path / "cut", min_score=0.99)
        with pytest.raises(OptionError, match=r"scores of at least 0\.5 and at most 0\.25"):
            audiotag.segments(found, tmp_path / "cut", min_score=0.5, max_score=0.25)
        with pytest.raises(OptionError, match="there is no setting 'claases'"):
            audiotag.segments(found, tmp_path / "cut", claases=())
        assert not (tmp_path / "cut").exists()


class TestRunsThatFailOrStop:
    def test_a_recording_that_cannot_be_read_is_reported(self, found: Path, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(b"RIFF")
        done = run(found, "--output", tmp_path / "cut")
        assert done.exit_code == 1 and "a.wav" in done.output and "1 recordings could not be read" in done.output
        assert {row["recording"] for row in listed(tmp_path / "cut")} == {"deep/a.wav"}

    def test_a_detection_behind_the_end_of_its_recording(self, tmp_path: Path) -> None:
        recording(tmp_path / "a.wav", 2.0)
        path = table(tmp_path / "found.csv", ("a.wav", 1.5, 3.0, 0, 0.9), ("a.wav", 2.5, 3.0, 0, 0.9))
        done = audiotag.segments(path, tmp_path / "cut", classes=("/m/dog",))
        (failure,) = done.failures
        assert isinstance(failure, AudioError) and "begins at 2.5 s, and the recording lasts 2 s" in str(failure)
        assert [row["offset"] for row in listed(tmp_path / "cut")] == ["0.5"]

    def test_it_goes_on_where_it_stopped(self, found: Path, tmp_path: Path) -> None:
        cut = tmp_path / "cut"
        assert run(found, "--output", cut).exit_code == 0
        whole = (cut / "segments.csv").read_bytes()
        first, *rest = sounds(cut)
        before = [(cut / name).stat().st_mtime_ns for name in rest]
        (cut / first).unlink()
        (cut / "segments.csv").unlink()
        done = run(found, "--output", cut, "--resume")
        assert done.exit_code == 0 and "5 segments, 4 of them from before" in done.output
        assert [(cut / name).stat().st_mtime_ns for name in rest] == before and first in sounds(cut)
        assert (cut / "segments.csv").read_bytes() == whole

    def test_what_is_there_is_neither_mixed_nor_lost(self, found: Path, tmp_path: Path) -> None:
        cut = tmp_path / "cut"
        assert run(found, "--output", cut).exit_code == 0
        again = run(found, "--output", cut)
        assert again.exit_code == 1 and "there are segments in this folder" in str(again.exception)
        other = run(found, "--output", cut, "--resume", "--padding", 1)
        assert other.exit_code == 1 and "padding was 0.0 and is 1.0" in str(other.exception)
        assert len(sounds(cut)) == 5
        (cut / "mine.wav").touch()
        assert run(found, "--output", cut, "--overwrite", "--total", 1).exit_code == 0
        assert sounds(cut) == ["Dog, barking a 00001.000-00002.000.flac", "mine.wav"]

    def test_a_folder_of_something_else_is_refused(self, found: Path, tmp_path: Path) -> None:
        for how in ((), ("--resume",), ("--overwrite",)):
            done = run(found, "--output", tmp_path / "deep", *how)
            assert done.exit_code == 1 and "the folder is not empty" in str(done.exception)

    @pytest.mark.parametrize("other", ["../a.wav", "mine.wav", "../a 00001.000-00002.000.wav"])
    def test_a_record_does_not_name_files_of_others(self, found: Path, tmp_path: Path, other: str) -> None:
        cut = tmp_path / "cut"
        assert run(found, "--output", cut, "--total", 1).exit_code == 0
        (cut / other).touch()
        record = cut / ".segments.json"
        record.write_text(record.read_text().replace("Dog, barking a 00001.000-00002.000.flac", other))
        done = run(found, "--output", cut, "--overwrite")
        assert done.exit_code == 1 and "cannot be of our making" in str(done.exception)
        assert (cut / other).exists() and len(sounds(cut)) >= 1

    @pytest.mark.slow
    def test_nothing_is_half_after_a_kill(self, tmp_path: Path) -> None:
        recording(tmp_path / "a.wav", 200.0)
        rows: list[Row] = [("a.wav", float(on), on + 2.0, 0, 0.5) for on in range(198)]
        path = table(tmp_path / "found.csv", *rows)
        command = [sys.executable, "-m", "audiotag", "segments", str(path), "--output", str(tmp_path / "cut")]
        for _ in range(3):
            process = subprocess.Popen([*command, "--resume"], stderr=subprocess.DEVNULL)
            before = len(sounds(tmp_path / "cut")) if (tmp_path / "cut").exists() else 0
            while process.poll() is None and (
                not (tmp_path / "cut").exists() or len(sounds(tmp_path / "cut")) < before + 20
            ):
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert all(soundfile.info(tmp_path / "cut" / name).frames == 2 * RATE for name in sounds(tmp_path / "cut"))
        subprocess.run([*command, "--resume"], check=True)
        assert len(listed(tmp_path / "cut")) == len(sounds(tmp_path / "cut")) == 198
        assert not [name for name in os.listdir(tmp_path / "cut") if name.endswith("audiotag-part")]  # noqa: PTH208


def test_it_needs_no_torch(found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check = (
        "import sys; from audiotag.cli.main import main; main(standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check, "segments", "found.csv", "--output", "cut"], check=True)
    assert len(sounds(tmp_path / "cut")) == 5
