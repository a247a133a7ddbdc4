"""What holds for every published data set, whoever brings it: the same checks run over the registry."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from audiotag.audio.decoding import AUDIO_SUFFIXES, read_audio
from audiotag.data.checking import recordings_below, validate_source
from audiotag.data.published import PublishedDataset
from audiotag.data.reading import read_clips
from audiotag.data.recording import clip_info, read_clip
from audiotag.data.sniffing import load_dataset, sniff_format
from audiotag.data.source import ClipSource
from audiotag.errors import AudioError, ManifestError
from audiotag.host import get_host

PUBLISHED = [spec for spec in get_host().datasets.values() if spec.licence]


@pytest.fixture(params=PUBLISHED, ids=lambda spec: spec.name)
def spec(request):
    return request.param


@pytest.fixture(scope="session")
def tiny_sets(tmp_path_factory):
    """A made-up version of each set, written once."""
    folder = tmp_path_factory.mktemp("tiny")
    return {spec.name: load_dataset(spec.name).write_tiny(folder / spec.name) for spec in PUBLISHED}


@pytest.fixture
def dataset(spec) -> PublishedDataset:
    return load_dataset(spec.name)


@pytest.fixture
def source(spec, tiny_sets, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_sets[spec.name], tmp_path / "source"))


def read(spec, source, **options):
    return read_clips(source, format=spec.name, **options)


def splits_of(clips):
    return {dict(clip.extra).get("split") for clip in clips}


def test_the_descriptor_states_what_people_must_know(spec, dataset):
    assert isinstance(dataset, PublishedDataset)
    assert spec.summary and spec.citation and spec.homepage.startswith("http")
    assert len({remote.filename for remote in spec.remotes}) == len(spec.remotes)


def test_the_tiny_version_is_small_and_repeats_with_its_seed(spec, dataset, tiny_sets, tmp_path):
    files = sorted(path for path in tiny_sets[spec.name].rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) < 1_000_000
    again = dataset.write_tiny(tmp_path / "again")
    other = dataset.write_tiny(tmp_path / "other", seed=1)
    for name in (path.relative_to(tiny_sets[spec.name]) for path in files):
        first, second, third = (folder / name for folder in (tiny_sets[spec.name], again, other))
        if name.suffix in AUDIO_SUFFIXES:  # the bytes of Ogg files hold a random number
            sounds = [read_audio(path, 16_000) for path in (first, second, third)]
            assert (sounds[0] == sounds[1]).all() and (sounds[0] != sounds[2]).any()
        else:
            assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_every_split_is_read(spec, source):
    clips = read(spec, source)
    assert len(clips) >= 8 and len({clip.id for clip in clips}) == len(clips)
    if spec.splits:
        assert splits_of(clips) == set(spec.splits)
        assert all(len(read(spec, source, split=split)) >= 2 for split in spec.splits)
    else:
        assert all(len(clips.split_fold(fold)[1]) >= 2 for fold in clips.folds()) and len(clips.folds()) > 1
    assert clips.targets().any(axis=0).sum() >= 2
    if clips.single_label:
        assert all(len(clip.labels) == 1 for clip in clips)


def test_it_is_recognised_as_nothing_else(spec, source):
    found = sniff_format(source)
    # A part of a larger set (ESC-10) lies in that set's folder.
    assert found == spec.name or load_dataset(found).read(source).labels.change_to(read(spec, source).labels).dropped


def test_a_class_list_decides_the_order(spec, source):
    clips = read(spec, source)
    reversed_labels = [clips.labels.mids[index] for index in range(len(clips.labels) - 1, -1, -1)]
    again = read(spec, source, labels=reversed_labels)
    np.testing.assert_array_equal(again.targets(), clips.targets()[:, ::-1])


def test_a_whole_set_is_complete(spec, dataset, source):
    found = dataset.validate(source)
    recordings = {(clip.path, clip.member) for clip in read(spec, source)}
    assert (found.complete, found.checked, found.extra) == (True, len(recordings), ())
    assert validate_source(ClipSource(source, format=spec.name)) == found


def test_a_missing_recording_is_found(spec, dataset, source):
    clip = read(spec, source)[0]
    clip.path.unlink()
    found = dataset.validate(source)
    assert not found.complete and len(found.missing) == 1 and not found.corrupt
    assert found.missing[0] == clip.path or clip.id in found.missing[0].name


def test_corrupt_recordings_are_found(spec, dataset, source):
    clips = read(spec, source)
    cut, text = clips[0].path, clips[1].path
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    text.write_text("no sound at all")
    found = dataset.validate(source)
    assert {path for path, _ in found.corrupt} == {cut, text} and not found.missing
    assert all(reason for _, reason in found.corrupt)


def test_an_extra_recording_is_found_and_does_no_harm(spec, dataset, source):
    clip = read(spec, source)[0]
    stranger = clip.path.with_name("stranger" + clip.path.suffix)
    shutil.copy(clip.path, stranger)
    found = dataset.validate(source)
    # A set that is a part of another cannot tell whose a file is.
    whole = sniff_format(source) == spec.name
    assert found.complete and found.extra == ((stranger,) if whole else ())


def test_another_folder_is_refused(spec, dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    for call in (dataset.read, dataset.validate, lambda path: dataset.prepare(path, tmp_path / "out")):
        with pytest.raises(ManifestError):
            call(tmp_path / "empty")


def test_prepared_and_read_again(spec, dataset, source, tmp_path):
    clips = read(spec, source)
    told = []
    output = dataset.prepare(source, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    again = read(spec, output)
    assert sniff_format(output) == spec.name
    assert told[-1] == (len(clips), len(clips))
    assert again.labels == clips.labels and again.single_label == clips.single_label
    by_id = {clip.id: clip for clip in again}
    for clip in clips:
        other = by_id.pop(clip.id)
        assert (other.labels, other.unknown, other.fold) == (clip.labels, clip.unknown, clip.fold)
        assert dict(other.extra).get("split") == dict(clip.extra).get("split")
        rate = clip_info(other).sample_rate
        assert rate == 16_000 or rate == 32_000
        first, second = read_clip(clip, rate), read_clip(other, rate)
        assert len(first) == len(second)
        assert np.corrcoef(first, second)[0, 1] > 0.98
    assert not by_id
    assert dataset.validate(output).complete
    assert all((output / f"{split}.json").is_file() or list(output.glob(f"{split}*")) for split in spec.splits)


def test_preparation_at_another_rate(spec, dataset, source, tmp_path):
    output = dataset.prepare(source, tmp_path / "out", sample_rate=8000)
    assert {clip_info(clip).sample_rate for clip in read(spec, output)} == {8000}
    with pytest.raises(ManifestError, match="another preparation"):
        dataset.prepare(source, tmp_path / "out", sample_rate=16_000)


def test_an_interrupted_preparation_goes_on(spec, dataset, source, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done >= total // 2:
            raise Stop

    output = tmp_path / "out"
    with pytest.raises(Stop):
        dataset.prepare(source, output, progress=stop)
    with pytest.raises(ManifestError, match="did not finish"):
        read(spec, output)
    written = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix in (".flac", ".hdf")}
    dataset.prepare(source, output)
    assert len(read(spec, output)) == len(read(spec, source))
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())


def test_preparation_names_a_corrupt_recording_and_goes_on(spec, dataset, source, tmp_path):
    clips = read(spec, source)
    clips[0].path.write_text("no sound at all")
    with pytest.raises(AudioError, match=clips[0].path.name):
        dataset.prepare(source, tmp_path / "out")
    assert [clip.id for clip in read(spec, tmp_path / "out")] == [clip.id for clip in clips[1:]]


def test_preparation_keeps_out_of_a_strange_folder(spec, dataset, source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ManifestError, match="something else"):
        dataset.prepare(source, tmp_path / "out")


def test_the_recordings_of_a_prepared_set_are_checked_too(spec, dataset, source, tmp_path):
    output = dataset.prepare(source, tmp_path / "out")
    recordings = list(recordings_below(output))
    if not recordings:
        pytest.skip("it is prepared into archives")
    recordings[0].unlink()
    shutil.copy(recordings[1], output / "audio" / "stranger.flac")
    found = dataset.validate(output)
    assert (found.missing, found.extra) == ((recordings[0],), (output / "audio" / "stranger.flac",))
