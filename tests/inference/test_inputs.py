from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiotag.data.clips import Clip
from audiotag.errors import AudioError, OptionError
from audiotag.inference.inputs import find_clips


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.FLAC", "sub/deep/c d.ogg", "sub/notes.txt", ".hidden.wav", ".git/x.wav", "we[1]rd.mp3"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(folder: Path, *sources: str | Path) -> list[str]:
    return [str(clip.path.relative_to(folder)) for clip in find_clips(sources)]


def test_folders_are_searched_with_their_subfolders(tree: Path) -> None:
    assert names(tree, tree) == ["a.FLAC", "b.wav", "sub/deep/c d.ogg", "we[1]rd.mp3"]


def test_files_are_taken_as_named_and_each_once(tree: Path) -> None:
    assert names(tree, tree / "b.wav", str(tree), tree / ".hidden.wav", tree / "b.wav") == [
        "b.wav",
        "a.FLAC",
        "sub/deep/c d.ogg",
        "we[1]rd.mp3",
        ".hidden.wav",
    ]
    assert find_clips(["missing.wav"]) == [Clip("missing", Path("missing.wav"))]


def test_patterns(tree: Path) -> None:
    assert names(tree, f"{tree}/**/*.ogg") == ["sub/deep/c d.ogg"]
    assert names(tree, f"{tree}/[ab].*") == ["a.FLAC", "b.wav"]
    assert names(tree, f"{tree}/we[1]rd.mp3") == ["we[1]rd.mp3"]
    with pytest.raises(AudioError, match="pattern"):
        find_clips([f"{tree}/*.aiff"])


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no recordings"):
        find_clips([tmp_path])


def test_manifests(tree: Path) -> None:
    manifest = tree / "list.json"
    entries = [{"video_id": "one", "wav": "b.wav", "labels": "/m/1"}, {"wav": "sub\\deep\\c d.ogg"}]
    manifest.write_text(json.dumps({"data": entries}))
    first, second = find_clips([manifest])
    assert (first.id, first.path) == ("one", tree / "b.wav")
    assert second.path == tree / "sub/deep/c d.ogg"
    table = tree / "list.csv"
    table.write_text("path,labels\nb.wav,Dog\nmissing.wav,\n")
    assert [clip.path.name for clip in find_clips([table])] == ["b.wav", "missing.wav"]
    moved = tree / "sub" / "list.csv"
    table.rename(moved)
    assert find_clips([moved], root=tree)[0].path == tree / "b.wav"


def test_a_video_file_brings_its_pictures(tmp_path: Path) -> None:
    (clip,) = find_clips([tmp_path / "film.mp4"])
    assert clip.video_path == clip.path
    (clip,) = find_clips([tmp_path / "film.wav"])
    assert clip.video_path is None


def test_a_link_that_leads_nowhere_is_a_recording_that_is_missing(tree: Path) -> None:
    (tree / "gone.wav").symlink_to("nowhere.wav")
    (tree / "sub" / "up").symlink_to("..")
    assert names(tree, tree) == ["a.FLAC", "b.wav", "gone.wav", "sub/deep/c d.ogg", "we[1]rd.mp3"]


def test_one_recording_with_other_pictures_is_another_clip(tree: Path) -> None:
    manifest = tree / "list.json"
    entries = [{"video_id": name, "wav": "b.wav", "video_path": "frames"} for name in ("one", "two")]
    manifest.write_text(json.dumps({"data": entries}))
    assert [(clip.id, clip.video_path) for clip in find_clips([manifest], frames=4)] == [
        ("one", tree / "frames"),
        ("two", tree / "frames"),
    ]


def test_the_number_of_frames_goes_with_every_clip(tree: Path) -> None:
    assert [clip.frames for clip in find_clips([tree / "b.wav"])] == [10]
    assert {clip.frames for clip in find_clips([tree], frames=3)} == {3}
    with pytest.raises(OptionError, match="frames"):
        find_clips([tree], frames=0)
