"""``audiotag data scan``, and what `audiotag infer` chooses by date, hour and place."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime, time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.data import scan
from audiotag.data.clips import Clip
from audiotag.data.listed import ListedClips
from audiotag.errors import ManifestError, OptionError
from audiotag.inference.moments import Wanted, parse_hours, parse_moment, recorded_of


@pytest.fixture
def sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, seconds in (
        ("brook/20260517_043000.WAV", 2.0),
        ("brook/20260518_120000.WAV", 1.0),
        ("S4A_20260517_233000.wav", 0.5),
    ):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((int(8000 * seconds), 2)), 8000, format="WAV")
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "sounds" / "notes.txt").touch()
    return Path("sounds")


@pytest.mark.parametrize("output", ["list.csv", "lists/list.parquet"])
def test_a_folder_becomes_a_list(sounds: Path, output: str) -> None:
    result = CliRunner().invoke(scan, [str(sounds), "--output", output])
    assert result.exit_code == 0, result.output
    assert "4 recordings are listed. 1 could not be read." in result.stderr
    assert "broken.wav" in result.stderr
    if output.endswith(".csv"):
        rows = list(csv.DictReader(Path(output).read_text().splitlines()))
        assert rows[-1] == {
            "path": "sounds/brook/20260518_120000.WAV", "bytes": "32044", "duration": "1.0", "sample_rate": "8000",
            "channels": "2", "date": "2026-05-18T12:00:00", "place": "brook", "latitude": "", "longitude": "",
        }  # fmt: skip
        assert rows[1]["path"] == "sounds/broken.wav" and rows[1]["duration"] == ""
    else:
        assert pyarrow.parquet.read_table(output)["duration"].to_pylist() == [0.5, None, 2.0, 1.0]
    clips = list(ListedClips(Path(output)))
    assert [clip.path.resolve() for clip in clips] == [
        (sounds / name).resolve()
        for name in ("S4A_20260517_233000.wav", "broken.wav", "brook/20260517_043000.WAV", "brook/20260518_120000.WAV")
    ]
    assert recorded_of(clips[0]).moment == datetime(2026, 5, 17, 23, 30)
    assert CliRunner().invoke(scan, [str(sounds), "--output", output]).exit_code == 1  # it exists


def clip(name: str, date: str | None = None, place: str = "brook", start: float = 0.0) -> Clip:
    extra = [("place", place)] + ([] if date is None else [("date", date)])
    return Clip(name, Path(f"{name}.wav"), extra=tuple(extra), start=start)


CLIPS = [
    clip("a", "2026-05-17T04:30:00"),
    clip("b", "2026-05-17T04:30:00", start=20_000.0),
    clip("c", "2026-05-17T23:30:00+02:00", "meadow north"),
    clip("d"),
    clip("e", "2026-05-18T00:00:00", "meadow south"),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), "abcde"),
        (Wanted(begin=datetime(2026, 5, 17, 5)), "bce"),
        (Wanted(end=datetime(2026, 5, 18)), "abc"),
        (Wanted(begin=parse_moment("2026-05-17T21:30+00:00", "--since")), "ce"),
        (Wanted(hours=parse_hours("4-10")), "a"),
        (Wanted(hours=parse_hours("10:00-5")), "abce"),
        (Wanted(hours=parse_hours("23:30-0")), "c"),
        (Wanted(places=("meadow*",)), "ce"),
        (Wanted(places=("brook", "*south")), "abde"),
    ],
)
def test_clips_are_chosen_by_date_hour_and_place(wanted: Wanted, names: str) -> None:
    assert "".join(one.id for one in wanted.of(CLIPS)) == names
    assert wanted.unknown == (1 if "d" not in names and not wanted.places else 0)


@pytest.mark.parametrize("text", ["4", "25-3", "4:70-6", "dawn-10", "4-10-12"])
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="are no hours"):
        parse_hours(text)


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(OptionError, match="--since: 'May' is no date"):
        parse_moment("May", "--since")
    with pytest.raises(OptionError, match="nothing lies between"):
        Wanted(datetime(2026, 1, 2), datetime(2026, 1, 1))
    with pytest.raises(ManifestError, match="date of the clip is 'May'"):
        recorded_of(clip("a", "May"))
    assert parse_hours("0-24") == (time(0), time(0))


def test_a_whole_day_is_every_hour() -> None:
    found: Iterable[Clip] = Wanted(hours=parse_hours("0-24")).of(CLIPS)
    assert len(list(found)) == 4
