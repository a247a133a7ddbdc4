"""Lists that are read as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from audiotag.data.clips import Clip
from audiotag.data.listed import ListedClips, can_stream
from audiotag.errors import ManifestError
from audiotag.inference.inputs import find_clips, stream_clips

Write = Callable[[dict[str, list[object]]], Path]


@pytest.fixture(params=["csv", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    def make(columns: dict[str, list[object]]) -> Path:
        path = tmp_path / f"list.{request.param}"
        if request.param == "parquet":
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
        else:
            rows = [
                list(columns),
                *(["" if cell is None else str(cell) for cell in row] for row in zip(*columns.values(), strict=True)),
            ]
            path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return make


def test_rows_are_clips(write: Write, tmp_path: Path) -> None:
    path = write(
        {
            "path": ["a.wav", "sub/Ö.flac", "/data/c.wav"],
            "id": ["first", None, "third"],
            "start": [None, 1.5, 0.0],
            "stop": [None, 2.5, None],
            "duration": [10.0, None, 3.5],
            "labels": ["Dog", "Cat", None],
        }
    )
    assert list(ListedClips(path)) == [
        Clip("first", tmp_path / "a.wav", extra=(("duration", "10.0"),)),
        Clip("sub/Ö.flac", tmp_path / "sub/Ö.flac", start=1.5, stop=2.5),
        Clip("third", Path("/data/c.wav"), extra=(("duration", "3.5"),)),
    ]
    assert next(iter(ListedClips(path, Path("/root")))).path == Path("/root/a.wav")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a.wav", None]}, "path of the recording is empty"),
        ({"path": ["a.wav"], "start": ["soon"]}, "start is 'soon', not a number"),
        ({"path": ["a.wav"], "start": [2.0], "stop": [1.0]}, "must hold"),
        ({"name": ["a.wav"]}, "'path' is missing"),
    ],
)
def test_what_is_wrong_is_said_once_it_is_reached(write: Write, columns: dict[str, list[object]], message: str) -> None:
    if columns.get("path") == ["a.wav", None]:
        columns = {**columns, "other": ["x", "y"]}
    with pytest.raises(ManifestError, match=message):
        list(ListedClips(write(columns)))


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ManifestError, match="cannot be read"):
        list(ListedClips(tmp_path / "list.parquet"))


def test_a_csv_in_another_encoding_and_with_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path;site\nÄ.wav;North, by the brook\n", encoding="utf-16")
    assert [(clip.path.name, clip.extra) for clip in ListedClips(path)] == [
        ("Ä.wav", (("site", "North, by the brook"),))
    ]
    path.write_bytes(b"path;site\n\xff\xfe\xfd;x\n")
    with pytest.raises(ManifestError, match="not text in UTF-8"):
        list(ListedClips(path))


def test_small_csvs_are_read_as_a_whole_but_for_shards(tmp_path: Path) -> None:
    table, parquet = tmp_path / "list.csv", tmp_path / "list.parquet"
    table.write_text("path\na.wav\n")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["b.wav"]}), parquet)
    assert stream_clips([table]) is None
    assert [clip.path.name for clip in stream_clips([table, parquet], always=True) or ()] == ["a.wav", "b.wav"]
    assert [clip.path.name for clip in stream_clips([parquet]) or ()] == ["b.wav"]
    assert stream_clips([parquet, tmp_path / "c.wav"]) is None
    assert [clip.path.name for clip in find_clips([parquet, tmp_path / "c.wav"])] == ["b.wav", "c.wav"]
    (tmp_path / "esc.csv").write_text("filename,fold,target,category\n")
    assert not can_stream(tmp_path / "esc.csv")
