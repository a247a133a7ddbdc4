"""The made-up set with strong labels is what it says, and the same for the same seed."""

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.data import read_clips, write_soundscapes
from audiotag.data.soundscapes import RATE, SOUNDS, soundscape
from audiotag.labels import known_labels


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_soundscapes(tmp_path_factory.mktemp("made") / "set", files=32, seed=0)


def test_parts_have_their_events_and_their_files_without(made):
    parts = [read_clips(table, labels=made.labels) for table in (made.train, made.validation, made.test)]
    assert [len(part) for part in parts] == [20, 4, 8]
    clips = [clip for part in parts for clip in part]
    assert len({clip.path for clip in clips}) == 32
    assert () in {clip.events for clip in clips} and None not in {clip.events for clip in clips}
    lengths = [event.offset - event.onset for clip in clips for event in clip.events]
    assert 0.199 < min(lengths) < 0.5 and 2 < max(lengths) < 4.001
    assert {event.index for clip in clips for event in clip.events} == set(range(10))
    assert {soundfile.info(clip.path).duration for clip in clips} == {10.0}


def test_the_same_seed_gives_the_same_files_whatever_their_number(made, tmp_path):
    fewer = write_soundscapes(tmp_path, files=8, seed=0)
    for name in ("00000", "00004"):
        one, two = (found.train.parents[1] / "audio" / "train" / f"{name}.wav" for found in (made, fewer))
        assert one.read_bytes() == two.read_bytes()
    assert made.train.read_text().startswith(fewer.train.read_text())
    assert not np.array_equal(soundscape(0, 0)[0], soundscape(4, 0)[0])


def test_events_overlap_and_those_of_a_class_do_not():
    overlapping = 0
    for number in range(40):
        _, placed = soundscape(0, number)
        assert list(placed) == sorted(placed)
        for place, one in enumerate(placed):
            for other in placed[place + 1 :]:
                overlapping += other.onset < one.offset
                assert other.mid != one.mid or other.onset > one.offset + 0.3
    assert overlapping > 20


@pytest.mark.parametrize("mid", SOUNDS)
@pytest.mark.parametrize("seconds", [0.2, 4.0])
def test_every_class_sounds_from_beginning_to_end(mid, seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    wave = SOUNDS[mid][1](time, np.random.default_rng(0))
    assert wave.shape == time.shape and np.isfinite(wave).all()
    tenths = np.sqrt(np.mean(wave.reshape(-1, RATE // 10) ** 2, axis=1))
    assert tenths.min() > 0.4 * tenths.max()


def test_classes_are_audiosets():
    known = {label.mid: label.name for label in known_labels("audioset_strong")}
    assert {mid: name for mid, (name, _) in SOUNDS.items()} == {mid: known[mid] for mid in SOUNDS}


def test_on_the_command_line(tmp_path):
    folder = str(tmp_path / "set")
    table = f"{folder}/metadata/train.tsv"
    asked = ["data", "tiny", "--strong", folder, "--files", "8"]
    done = CliRunner().invoke(main, asked)
    assert (done.exit_code, "test.tsv" in done.output) == (0, True)
    assert "--files 8 --seed 0" in (tmp_path / "set" / "README.md").read_text()
    stats = CliRunner().invoke(main, ["data", "stats", table])
    assert "overlap others" in stats.output and "EVENTS  SECONDS  MEDIAN" in stats.output
    for wrong in (asked, [*asked, "more"], ["data", "tiny", folder], ["data", "tiny", "esc50", "new", "--files", "8"]):
        assert CliRunner().invoke(main, wrong).exit_code != 0
