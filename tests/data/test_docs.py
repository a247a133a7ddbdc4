"""The examples of docs/data.md do what it says."""

import re
from pathlib import Path

import pytest

from audiotag.data.reading import read_clips
from audiotag.host import get_host
from audiotag.labels import known_labels

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
DATASETS = PAGE.with_name("datasets.md")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.mark.parametrize("language", ["json", "csv"])
def test_the_examples_are_read(tmp_path, language):
    path = tmp_path / f"clips.{language}"
    path.write_text(block(language), encoding="utf-8")
    classes = known_labels("audioset")
    clips = read_clips(path, labels=classes, check_files=False)
    names = [{classes[index].name for index in clip.labels} for clip in clips]
    if language == "json":
        assert names == [{"Speech", "Male speech, man speaking"}, {"Child speech, kid speaking", "Dog"}, set()]
        assert (clips[1].start, clips[1].stop, clips[1].fold) == (2.5, 7.5, 1)
    else:
        assert names == [{"Speech", "Dog"}, {"Speech", "Dog"}, set()]
        assert len(read_clips(path, labels=classes, check_files=False, split="test")) == 1


def test_the_plugin_reads(tmp_path):
    scope: dict = {}
    exec(block("python"), scope)
    path = tmp_path / "a.my.tsv"
    path.write_text("x.wav\tDog,Cat\ny.wav\tCat\n", encoding="utf-8")
    dataset = scope["MyTable"]()
    assert dataset.recognises(path)
    clips = dataset.read(path)
    assert clips.labels.names == ("Cat", "Dog")
    assert [clip.labels for clip in clips] == [(0, 1), (0,)]


def test_the_table_of_data_sets_is_the_registry():
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", DATASETS.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {
        name: set(re.findall(r"`(\w+)`", splits))
        for name, splits in rows
        if name not in ("audio_name", "mp3", "target")
    }
    assert listed == {spec.name: set(spec.splits) for spec in get_host().datasets.values() if spec.licence}


def test_event_table_example(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_text(re.search(r"```\n(filename\tonset.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1])
    clips = read_clips(path, check_files=False)
    assert [[clips.labels[index].name for index in clip.labels] for clip in clips] == [["Dog", "Speech"], []]
