"""The made-up set is what it says, and the same for the same seed."""

import json
import sys

import numpy as np
import pytest
import soundfile

from audiotag.audio.encoding import write_sound
from audiotag.data.reading import read_clips
from audiotag.data.synthesis import CLASSES, demo_labels, mix_clip, write_set
from audiotag.errors import OutputError
from audiotag.labels import known_labels


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("made"), clips=64, minutes=0.5)


def test_parts_are_disjoint_and_each_has_every_class(made):
    seen = set()
    for part in (made.train, made.val, made.test):
        clips = read_clips(part, labels=made.labels)
        assert (clips.targets().sum(axis=0) > 0).all()
        ids = {clip.id for clip in clips}
        assert not ids & seen
        seen |= ids
    assert len(seen) == 64


def test_clips_differ_in_rate_length_channels_and_number_of_labels(made):
    clips = read_clips(made.train, labels=made.labels)
    infos = [soundfile.info(clip.path) for clip in clips]
    assert len({info.samplerate for info in infos}) >= 4
    assert {info.channels for info in infos} == {1, 2}
    assert max(info.duration for info in infos) > 1.5 * min(info.duration for info in infos)
    assert {len(clip.labels) for clip in clips} == {1, 2, 3}


def test_the_recording_is_as_long_as_asked_and_its_events_lie_within(made):
    assert soundfile.info(made.recording).duration == pytest.approx(30.0)
    lines = made.events.read_text().splitlines()
    assert lines[0] == "filename\tonset\toffset\tevent_label"
    for line in lines[1:]:
        _, onset, offset, label = line.split("\t")
        assert 0 <= float(onset) < float(offset) <= 30.0
        assert label in demo_labels().names


def test_the_same_seed_gives_the_same_clips(made, tmp_path):
    again = write_set(tmp_path, clips=16, minutes=0.1)  # a smaller set, whose clips are the first of the larger one
    entries = json.loads(again.train.read_text())["data"]
    assert len(entries) == 16 and entries == json.loads(made.train.read_text())["data"][:16]
    for entry in entries:
        assert (made.train.parent / entry["wav"]).read_bytes() == (tmp_path / entry["wav"]).read_bytes()


@pytest.mark.parametrize("mid", CLASSES)
def test_every_class_makes_a_sound_within_full_scale(mid):
    wave = mix_clip([mid], 16_000, 2.0, 2, np.random.default_rng(0))
    assert wave.shape == (32_000, 2)
    assert 0.1 < np.abs(wave).max() <= 1.0


def test_classes_are_audiosets():
    audioset = {label.mid: label.name for label in known_labels("audioset")}
    assert {label.mid: label.name for label in demo_labels()} == {mid: audioset[mid] for mid in CLASSES}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_without_room_is_said_to_be_one(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"sound\.wav: it cannot be written: File too large"):
            write_sound(tmp_path / "sound.wav", np.zeros(1000), 8000, "PCM_16")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
