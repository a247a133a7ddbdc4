"""Names that no file can have: each is an error of ours, whoever is given it."""

import pytest

import audiotag
from audiotag.cli.options import name_list
from audiotag.continual.store.store import ClipStore
from audiotag.data.checking import validate_source
from audiotag.data.reading import read_clips
from audiotag.data.scores import ScoresFile
from audiotag.errors import AudiotagError
from audiotag.files import atomic_path, check_place
from audiotag.labels import read_labels
from audiotag.models.published import load_published
from audiotag.places import exists, is_file, is_folder, is_link

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
