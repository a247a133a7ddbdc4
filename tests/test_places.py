"""Names that no file can have: each is an error of ours, whoever is given it."""

from pathlib import Path

import pytest

import audiotag
from audiotag import places
from audiotag.cli.options import name_list
from audiotag.continual.store.store import ClipStore
from audiotag.data.checking import validate_source
from audiotag.data.reading import read_clips
from audiotag.data.scores import ScoresFile
from audiotag.errors import AudiotagError
from audiotag.files import atomic_path, check_place
from audiotag.labels import read_labels
from audiotag.models.published import load_published
from audiotag.places import exists, is_file, is_folder, is_link, missing_files

LONG = "x" * 300
NAMES = [LONG, f"{LONG}/y", f"/tmp/{LONG}/z.csv", f"{LONG}.npz", f"{LONG}.wav", "a\0b", "a\0b.json"]


def _write(name):
    with atomic_path(name):
        pass


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize(
    "use",
    [
        audiotag.load,
        lambda name: audiotag.load([name, name]),
        lambda name: audiotag.evaluate(name, "clips.csv"),
        lambda name: audiotag.finetune(name, "clips.csv", output="run"),
        lambda name: audiotag.compare([name], "clips.csv", output="out"),
        lambda name: load_published(None, name),
        read_labels,
        read_clips,
        validate_source,
        ScoresFile.read,
        ClipStore,
        check_place,
        _write,
    ],
)
def test_a_name_that_no_file_can_have_is_an_error_of_ours(tmp_path, monkeypatch, use, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudiotagError):
        use(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_nothing_is_there_under_it(name):
    assert not (exists(name) or is_file(name) or is_folder(name) or is_link(name))


def test_a_list_of_names_may_be_longer_than_a_file_name():
    names = [f"model_{number}" for number in range(60)]
    assert name_list(",".join(names)) == names


@pytest.mark.parametrize("count", [3, 40])
def test_missing_files_are_those_that_are_no_files(tmp_path, count, monkeypatch):
    (tmp_path / "full").mkdir()
    files = [tmp_path / "full" / f"{number}.wav" for number in range(count)]
    for path in files[2:]:
        path.touch()
    files[0].mkdir()
    links = [tmp_path / "full" / "link.wav", tmp_path / "full" / "dangling.wav"]
    links[0].symlink_to(files[2])
    links[1].symlink_to(files[1])
    elsewhere = [tmp_path / "nowhere" / f"{number}.wav" for number in range(count)]
    strange = [str(tmp_path / "full" / "\0.wav"), "x" * 5000, str(tmp_path / "full" / "3.wav" / "below.wav")]
    wanted = [str(path) for path in (*elsewhere, *files, *links)] + strange
    expected = [str(path) for path in (*elsewhere, *files[:2], links[1])] + strange
    assert missing_files(wanted) == expected
    monkeypatch.chdir(tmp_path / "full")
    assert missing_files([path.name for path in files]) == ["0.wav", "1.wav"]
    assert missing_files(["./2.wav", "../full/2.wav", *["gone.wav"] * 20]) == ["gone.wav"] * 20


def test_files_of_a_full_folder_are_not_asked_for_one_by_one(tmp_path, monkeypatch):
    files = [str(tmp_path / f"{number}.wav") for number in range(100)]
    for path in files:
        Path(path).touch()
    asked = []
    monkeypatch.setattr(places, "is_file", lambda path: asked.append(path))
    assert missing_files(files) == [] and asked == []
