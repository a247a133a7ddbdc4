"""What `prepare` writes stays in its folder, and one odd recording does not end it."""

import json
import re
import shutil

import pytest

from audiotag.data.download import fetch
from audiotag.data.prepared import MARKER, read_preparation
from audiotag.data.reading import read_clips
from audiotag.data.sniffing import load_dataset, sniff_format
from audiotag.errors import AudioError, ManifestError
from audiotag.plugin import Remote


@pytest.fixture
def esc50(tmp_path):
    """A folder of ESC-50's form, to which a test adds rows; the recordings are those of the tiny version."""
    source = load_dataset("esc50").write_tiny(tmp_path / "esc50")
    table = source / "meta" / "esc50.csv"
    header, *lines = table.read_text().splitlines()

    def write(*more, columns=header):
        table.write_text("\n".join([columns, *lines, *more]) + "\n")
        return source

    return write


def everything(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["../../pwn.wav", "..\\..\\pwn.wav", "a/../../../pwn.wav", "{absolute}", "nul.wav"])
def test_names_in_lists_write_nothing_outside(esc50, tmp_path, name):
    name = name.format(absolute=tmp_path / "pwn.wav")
    source = esc50(f"{name},1,0,dog,True,1,A")
    before = everything(tmp_path)
    with pytest.raises(ManifestError, match="so it is not used"):
        load_dataset("esc50").prepare(source, tmp_path / "deep" / "er" / "out")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("split", ["../../pwn", "/tmp/pwn", "a/b", "clips", "audiotag-dataset", "AUDIOTAG-DATASET"])
def test_names_of_splits_write_nothing_else(tmp_path, split):
    source = load_dataset("esc50").write_tiny(tmp_path / "esc50")
    table = source / "meta" / "esc50.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{header},split", *(f"{line},{split}" for line in lines)]) + "\n")
    before = everything(tmp_path)
    with pytest.raises(ManifestError, match=r"split"):
        load_dataset("esc50").prepare(source, tmp_path / "out")
    assert everything(tmp_path) == before


def test_a_link_in_the_output_is_not_followed(esc50, tmp_path):
    source = esc50()
    out = load_dataset("esc50").prepare(source, tmp_path / "out", sample_rate=8000)
    (out / "audio" / "sub").symlink_to(tmp_path)
    esc50("sub/x.wav,1,0,dog,True,1,A")
    with pytest.raises(ManifestError, match="over a link"):
        load_dataset("esc50").prepare(source, out, sample_rate=8000)


@pytest.mark.parametrize("name", ["esc50", "audioset"])
@pytest.mark.parametrize(
    "place", ["audio", "audio/1-100032-A-0.flac", "clips.json", "class_labels_indices.csv", MARKER]
)
def test_nothing_is_written_through_links_of_a_folder_begun_by_somebody(tmp_path, name, place):
    """A half-prepared folder may come from anybody, and its links lead anywhere, to what is not there yet, too."""
    dataset = load_dataset(name)
    source = dataset.write_tiny(tmp_path / "source")
    out = dataset.prepare(source, tmp_path / "out")
    aside = tmp_path / "aside"
    aside.mkdir()
    (out / place).parent.mkdir(exist_ok=True)
    if (out / place).is_dir():
        shutil.rmtree(out / place)
    target = aside / "link" if place != MARKER else (out / MARKER).rename(aside / MARKER)
    (out / place).unlink(missing_ok=True)
    (out / place).symlink_to(aside if place == "audio" else target)
    before = {path: path.read_bytes() for path in aside.iterdir()}
    with pytest.raises(ManifestError, match=re.escape(f"{out / place}: it is a link, to")):
        dataset.prepare(source, out)
    assert {path: path.read_bytes() for path in aside.iterdir()} == before


def test_the_output_itself_may_be_a_link(esc50, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for _ in range(2):
        load_dataset("esc50").prepare(esc50(), tmp_path / "out", sample_rate=8000)
    assert len(read_clips(tmp_path / "disk")) == 20


@pytest.mark.parametrize("name", ["esc50", "audioset"])
def test_one_odd_recording_is_left_out_and_named(tmp_path, name):
    dataset = load_dataset(name)
    source = dataset.write_tiny(tmp_path / "source")
    clips = dataset.read(source)
    clips[3].path.write_bytes(b"no sound at all")
    out = tmp_path / "out"
    with pytest.raises(AudioError, match=f"1 of {len(clips)} recordings cannot be read: '{re.escape(clips[3].id)}'"):
        dataset.prepare(source, out)
    again = read_clips(out, format=name)
    assert [clip.id for clip in again] == [clip.id for clip in clips if clip.id != clips[3].id]
    (left_out,) = read_preparation(out).left_out
    assert left_out.id == clips[3].id and "cannot be read as a recording" in left_out.reason
    assert sum(again.absent.values()) == 1
    with pytest.raises(AudioError, match=re.escape(clips[3].id)):
        dataset.prepare(source, out)
    assert read_preparation(out).left_out[0].id == clips[3].id


def test_a_mended_recording_comes_in_with_the_next_call(esc50, tmp_path):
    source = esc50()
    clip = load_dataset("esc50").read(source)[0]
    sound = clip.path.read_bytes()
    clip.path.write_bytes(b"no sound at all")
    out = tmp_path / "out"
    with pytest.raises(AudioError, match="left out"):
        load_dataset("esc50").prepare(source, out, sample_rate=8000)
    clip.path.write_bytes(sound)
    load_dataset("esc50").prepare(source, out, sample_rate=8000)
    assert read_preparation(out).left_out == () and len(read_clips(out)) == 20


def test_nothing_that_can_be_read_is_an_error(esc50, tmp_path):
    source = esc50()
    for path in (source / "audio").iterdir():
        path.write_bytes(b"no sound at all")
    with pytest.raises(AudioError, match="20 of 20 recordings cannot be read"):
        load_dataset("esc50").prepare(source, tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("dataset"),
        lambda content: content.update(format="something else"),
        lambda content: content.update(format_version=2),
        lambda content: content.update(complete="yes"),
        lambda content: content.update(single_label=1),
        lambda content: content.update(left_out=[3]),
    ],
)
def test_a_damaged_marker_is_an_error(esc50, tmp_path, change):
    out = load_dataset("esc50").prepare(esc50(), tmp_path / "out", sample_rate=8000)
    content = json.loads((out / MARKER).read_text())
    change(content)
    (out / MARKER).write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=MARKER):
        sniff_format(out)
    (out / MARKER).write_text("{")
    with pytest.raises(ManifestError, match="not valid JSON"):
        read_clips(out)


def test_a_data_set_whose_plugin_is_gone_is_named(esc50, tmp_path):
    out = load_dataset("esc50").prepare(esc50(), tmp_path / "out", sample_rate=8000)
    marker = out / MARKER
    assert json.loads(marker.read_text())["plugin"] == "audiotag"
    marker.write_text(marker.read_text().replace('"esc50"', '"owls"').replace('"audiotag"', '"audiotag-owls"'))
    with pytest.raises(
        ManifestError, match=r"needs the dataset format 'owls' of audiotag-owls: .*pip install audiotag-owls"
    ):
        read_clips(out)
    assert len(read_clips(out / "clips.json")) == 20


def test_downloads_stay_in_their_folder(tmp_path):
    (tmp_path / "list.csv").write_text("path,labels\n")
    remote = Remote(url=(tmp_path / "list.csv").as_uri(), filename="..")
    (done,) = fetch([remote], tmp_path / "a" / "b")
    assert "leads out of its folder" in str(done.error)
    assert everything(tmp_path) == [tmp_path / "list.csv"]


@pytest.mark.parametrize("name", ["desed", "audioset_strong"])
def test_what_is_prepared_says_when_classes_are_heard(name, tmp_path):
    dataset = load_dataset(name)
    source = dataset.write_tiny(tmp_path / name)
    clips, prepared = read_clips(source), read_clips(dataset.prepare(source, tmp_path / "out", sample_rate=8000))
    assert {clip.id: clip.events for clip in prepared} == {clip.id: clip.events for clip in clips}
    assert any(clip.events for clip in prepared)
