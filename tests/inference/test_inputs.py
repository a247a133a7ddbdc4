from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("ending", ["wave", "AIFC", "sph", "voc", "webm"])
def test_every_ending_of_recordings_is_found(tree: Path, ending: str) -> None:
    (tree / f"e.{ending}").write_bytes(b"")
    assert f"e.{ending}" in names(tree, tree)


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


def test_a_recording_has_every_id_that_a_list_gives_it(tree: Path) -> None:
    manifest = tree / "list.json"
    entries = [{"video_id": name, "wav": "b.wav", "stop": stop} for name, stop in (("a", 1), ("b", 1), ("c", None))]
    manifest.write_text(json.dumps({"data": entries}))
    found = find_clips([manifest, manifest, tree / "b.wav"])
    assert [(clip.id, clip.stop) for clip in found] == [("a", 1), ("b", 1), ("c", None)]


def test_the_number_of_frames_goes_with_every_clip(tree: Path) -> None:
    assert [clip.frames for clip in find_clips([tree / "b.wav"])] == [10]
    assert {clip.frames for clip in find_clips([tree], frames=3)} == {3}
    with pytest.raises(OptionError, match="frames"):
        find_clips([tree], frames=0)


def test_an_empty_path_is_not_the_current_folder() -> None:
    for empty in ("", " "):
        with pytest.raises(OptionError, match="empty"):
            find_clips([empty])


def test_links_to_folders_are_followed_and_each_folder_is_searched_once(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name} elsewhere"
    (outside / "in").mkdir(parents=True)
    (outside / "in" / "e.wav").write_bytes(b"")
    (tree / "aaa").symlink_to(outside, target_is_directory=True)
    (tree / "aab").symlink_to(tree / "sub", target_is_directory=True)
    (outside / "back").symlink_to(tree, target_is_directory=True)
    assert names(tree, tree) == ["a.FLAC", "aaa/in/e.wav", "b.wav", "sub/deep/c d.ogg", "we[1]rd.mp3"]
    assert names(tree, tree / "aab") == ["aab/deep/c d.ogg"]


def test_a_recording_is_taken_once_however_it_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert [clip.path for clip in find_clips(["b.wav", "./b.wav", tree / "b.wav", "sub/../b.wav"])] == [Path("b.wav")]
    (tree / "link").symlink_to("sub/deep")
    (tree / "sub" / "b.wav").write_bytes(b"")
    assert [clip.path for clip in find_clips(["b.wav", "link/../b.wav"])] == [Path("b.wav"), Path("link/../b.wav")]


def test_a_pattern_follows_links_and_takes_each_folder_once(tree: Path) -> None:
    for name in ("aaa", "aab"):  # glob itself would try every way of going round, 2 to the power of 40
        (tree / name).symlink_to(".")
        (tree / "sub" / name).symlink_to("..")
    (tree / "linked").symlink_to(tree / "sub" / "deep")
    assert names(tree, f"{tree}/**/*.ogg") == ["sub/deep/c d.ogg"]
    assert names(tree, f"{tree}/**") == names(tree, tree)
    assert names(tree, f"{tree}/**/deep/**/*") == ["sub/deep/c d.ogg"]
    assert names(tree, f"{tree}/l*/**/*.ogg") == ["linked/c d.ogg"]


def test_folders_that_a_pattern_fits_are_searched(tree: Path) -> None:
    assert names(tree, f"{tree}/s*") == ["sub/deep/c d.ogg"]
    (tree / "empty").mkdir()
    with pytest.raises(AudioError, match="have no recordings"):
        find_clips([f"{tree}/e*"])


def test_a_folder_that_cannot_be_searched_is_said(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(AudioError, match=r"deep: the folder cannot be searched: Permission denied"):
        find_clips([tree])
    errors: list[AudioError] = []
    assert len(find_clips([tree], failed=errors.append)) == 3
    assert [Path(str(error.where)).name for error in errors] == ["deep"]


def test_names_that_no_file_can_have_are_recordings_that_are_missing() -> None:
    assert len(find_clips(["x" * 300 + ".wav", "a\0b.wav"])) == 2
