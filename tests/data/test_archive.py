"""HDF5 files of MP3s: read, decoded, and one place for clips in files and in archives."""

import io
import os
import pickle
import shutil
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from audiotag.audio.decoding import probe, read_audio
from audiotag.audio.encoded import EncodedAudio
from audiotag.audio.encoding import encode_lossless, encode_mp3
from audiotag.continual.store import Payload
from audiotag.data import archive_worker
from audiotag.data.archive import writing
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.reading import read_clips
from audiotag.data.recording import clip_digest, clip_info, clip_seconds, read_clip, stream_clip
from audiotag.data.sets.tiny import tiny_sound
from audiotag.data.sniffing import sniff_format
from audiotag.errors import AudioError, ManifestError, MissingExtraError
from audiotag.inference.sound import SoundReader
from audiotag.labels import LabelSet, known_labels
from audiotag.training.data import Batches, ClipReader, Intake
from audiotag.training.data import clip_seconds as clip_lengths

RATE = 32_000
CLASSES = LabelSet.from_names([f"class {number}" for number in range(11)])


def mp3(number):
    return encode_mp3(tiny_sound((number,), number, rate=RATE), RATE)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "clips_mp3.hdf"
    CLASSES.to_csv(tmp_path / "class_labels_indices.csv")
    with writing(path) as file:
        for number in range(6):
            file.add(f"clip{number}.mp3", mp3(number), (number, 10), len(CLASSES))
    return path


def test_names_and_classes(archive):
    clips = read_clips(archive)
    assert sniff_format(archive) == "hdf5"
    assert clips.labels == CLASSES
    assert [(clip.id, clip.labels, clip.member) for clip in clips][:2] == [
        ("clip0", (0, 10), "0"),
        ("clip1", (1, 10), "1"),
    ]
    other = read_clips(archive, labels=["class 10", "class 0"], unknown_labels="skip")
    assert other[0].labels == (0, 1) and other[1].labels == (0,)


def test_a_file_of_the_published_layout(tmp_path):
    """As the PaSST and EfficientAT tools write it: AudioSet's classes, nothing beside the file."""
    path = tmp_path / "eval_segments_mp3.hdf"
    targets = np.zeros((2, 527), dtype=np.uint8)
    targets[0, [0, 526]] = 1
    with h5py.File(path, "w") as file:
        file.create_dataset("audio_name", data=np.array([b"Yone.mp3", b"Ytwo.mp3"], dtype="S20"))
        sounds = file.create_dataset("mp3", shape=(2,), dtype=h5py.special_dtype(vlen=np.uint8))
        for number in range(2):
            sounds[number] = np.frombuffer(mp3(number), dtype=np.uint8)
        file.create_dataset("target", data=np.packbits(targets, axis=-1))
    clips = read_clips(path)
    assert clips.labels == known_labels("audioset")
    assert [(clip.id, clip.labels) for clip in clips] == [("Yone", (0, 526)), ("Ytwo", ())]


def test_it_sounds_like_the_file(archive, tmp_path):
    clip = read_clips(archive)[3]
    path = tmp_path / "clip3.mp3"
    path.write_bytes(mp3(3))
    alone = Clip(id="clip3", path=path)
    assert clip_info(clip).frames == clip_info(alone).frames
    assert clip_info(clip).format.startswith("MP3")
    assert clip_seconds(clip) == clip_seconds(alone)
    np.testing.assert_array_equal(read_clip(clip, 16_000), read_clip(alone, 16_000))
    part = Clip(id="x", path=clip.path, member=clip.member, start=0.1, stop=0.4)
    np.testing.assert_array_equal(read_clip(part, RATE), read_audio(path, RATE, start=0.1, stop=0.4))
    np.testing.assert_array_equal(
        read_clip(part, RATE, start=0.1, stop=9.0), read_audio(path, RATE, start=0.2, stop=0.4)
    )
    blocks = list(stream_clip(clip, RATE, block_seconds=0.1))
    assert len(blocks) == 5
    np.testing.assert_allclose(np.concatenate(blocks), read_clip(clip, RATE), atol=1e-7)
    assert clip_digest(clip) == clip_digest(alone) != clip_digest(read_clips(archive)[2])
    original = tiny_sound((3,), 3, rate=RATE)
    assert np.corrcoef(original, read_clip(clip, RATE))[0, 1] > 0.98


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_open_it_for_themselves(archive, workers):
    clips = read_clips(archive)
    read_clip(clips[0], RATE)  # a handle is open in this process when the workers are forked
    reader = ClipReader(clips, Intake(RATE, 0.5, 0.5))
    plan = [[(0, 0), (1, 1), (2, 2)], [(3, 3), (4, 4), (5, 5)]]
    with closing(Batches({"clips": reader}, workers)) as ahead:
        batches = list(ahead.read("clips", plan))
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5]]
    for batch in batches:
        for index, waveform in zip(batch["index"].tolist(), batch["waveform"].numpy(), strict=True):
            np.testing.assert_array_equal(waveform, read_clip(clips[index], RATE))
    np.testing.assert_allclose(clip_lengths(clips), 0.5)


def test_a_replaced_archive_is_read_anew(archive):
    before = read_clip(Clip(id="x", path=archive, member="0"), RATE)
    with writing(archive) as file:
        file.add("other.mp3", mp3(5), (0,), len(CLASSES))
    after = read_clip(Clip(id="x", path=archive, member="0"), RATE)
    assert (before != after).any()


def readers():
    """How many processes read archives for this one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return sum(b"archive_worker" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="only Linux says it there")
def test_many_archives_do_not_keep_a_process_each(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("audiotag.data.archive._MOST_READERS", 3)
    paths = [tmp_path / f"{number}.h5" for number in range(5)]
    for path in paths:
        shutil.copy(archive, path)
    for path in (*paths, *paths):
        assert clip_info(read_clips(path)[0]).channels == 1
        assert 1 <= readers() <= 3


def test_taggers_and_stores_take_such_clips(archive):
    clip = read_clips(archive)[1]
    sound = SoundReader(RATE, takes_audio=True, video_shape=None, longest_seconds=10.0).read(clip)
    np.testing.assert_array_equal(sound.waveform, read_clip(clip, RATE))
    windows = list(SoundReader(RATE, True, None, 10.0).windows(clip, 0.2, 0.1))
    assert [window.onset for window in windows[:2]] == [0.0, 0.1]
    assert Payload.from_clip(clip).content == mp3(1)
    part = Payload.from_clip(Clip(id="x", path=clip.path, member="1", stop=0.25))
    samples, rate = soundfile.read(io.BytesIO(part.content))
    assert (part.suffix, rate, len(samples)) == (".flac", RATE, 8000)


def test_missing_and_broken_archives(archive, tmp_path):
    with pytest.raises(AudioError, match="row 99"):
        read_clip(Clip(id="x", path=archive, member="99"), RATE)
    with pytest.raises(AudioError, match="does not exist"):
        read_clip(Clip(id="x", path=tmp_path / "none.hdf", member="0"), RATE)
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(AudioError, match=r"clips_mp3\.hdf"):
        read_clip(Clip(id="x", path=archive, member="0"), RATE)
    with pytest.raises(ManifestError, match="cannot be read as an HDF5 file"):
        read_clips(archive)


def test_a_damaged_recording_names_its_row(tmp_path):
    path = tmp_path / "a.hdf"
    CLASSES.to_csv(tmp_path / "class_labels_indices.csv")
    with writing(path) as file:
        file.add("cut.mp3", mp3(0)[:3000], (0,), len(CLASSES))
        file.add("empty.mp3", b"", (0,), len(CLASSES))
    cut, empty = read_clips(path)
    with pytest.raises(AudioError, match=r"a\.hdf, row 0: the file is truncated"):
        read_clip(cut, RATE)
    with pytest.raises(AudioError, match=r"a\.hdf, row 1: the recording is empty"):
        read_clip(empty, RATE)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"audio_name": np.array([b"a"])}, "no array 'mp3', 'target'"),
        (
            {
                "audio_name": np.array([b"a"]),
                "mp3": np.zeros((1, 4), np.uint8),
                "target": np.zeros((2, 2), np.uint8),
            },
            "arrays do not fit",
        ),
        (
            {
                "audio_name": np.array([b"a"]),
                "mp3": np.zeros((1, 4), np.uint8),
                "target": np.zeros((1, 3), np.uint8),
            },
            "3 bytes, room for 17 to 24 classes, and audioset has 527",
        ),
        (
            {
                "audio_name": np.array([b"a"]),
                "mp3": np.zeros((1, 4), np.uint8),
                "target": np.full((1, 66), 255, np.uint8),
            },
            "a class beyond the 527",
        ),
    ],
)
def test_other_hdf5_files(tmp_path, arrays, message):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    with pytest.raises(ManifestError, match=message):
        read_clips(path)


def test_without_h5py(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"audiotag\[hdf5\]"):
        read_clips(archive)


def test_clips_travel_to_workers(archive):
    clips = read_clips(archive)
    assert isinstance(pickle.loads(pickle.dumps(clips)), ClipSet)


class TestEncodedAudio:
    """Bytes in memory are decoded as files are."""

    @pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
    def test_as_the_file(self, tmp_path, kind):
        path = tmp_path / f"a.{kind.lower()}"
        soundfile.write(path, tiny_sound((1,), 0), 16_000, format=kind)
        encoded = EncodedAudio(path.name, path.read_bytes())
        np.testing.assert_array_equal(read_audio(encoded, 8000), read_audio(path, 8000))
        assert probe(encoded).frames == probe(path).frames

    def test_a_wav_whose_length_was_never_written(self, tmp_path):
        content = bytearray()
        path = tmp_path / "a.wav"
        soundfile.write(path, tiny_sound((1,), 0), 16_000)
        content += path.read_bytes()
        at = content.index(b"data") + 4
        content[at : at + 4] = bytes(4)
        assert len(read_audio(EncodedAudio("a.wav", bytes(content)), 16_000)) == 8000

    def test_truncated_and_other_bytes(self):
        content, _ = encode_lossless(tiny_sound((1,), 0), 16_000)
        with pytest.raises(AudioError, match=r"a\.flac"):
            read_audio(EncodedAudio("a.flac", content[: len(content) // 2]), 16_000)
        with pytest.raises(AudioError, match=r"b\.mp3"):
            read_audio(EncodedAudio("b.mp3", b"hello" * 100), 16_000)

    def test_a_container(self, tmp_path):
        av = pytest.importorskip("av")
        path = tmp_path / "a.m4a"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16_000)
            frame = av.AudioFrame.from_ndarray(tiny_sound((1,), 0)[None], format="fltp", layout="mono")
            frame.sample_rate = 16_000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        np.testing.assert_array_equal(
            read_audio(EncodedAudio("a.m4a", path.read_bytes()), 16_000), read_audio(path, 16_000)
        )


def test_sound_that_leaves_full_scale_is_kept():
    loud = tiny_sound((1,), 0) * 2.5
    content, suffix = encode_lossless(loud, 16_000)
    assert suffix == ".wav"
    np.testing.assert_array_equal(read_audio(EncodedAudio("a.wav", content), 16_000), loud)
    with pytest.raises(AudioError, match="12345 Hz cannot be written as MP3"):
        encode_mp3(loud, 12_345)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_an_archive_that_never_answers_is_given_up(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.hdf")
    monkeypatch.setattr("audiotag.data.archive._PATIENCE", 0.5)
    for _ in range(2):
        with pytest.raises(AudioError, match="found no end"):
            read_clip(Clip(id="x", path=tmp_path / "a.hdf", member="0"), RATE)
    monkeypatch.setattr("audiotag.data.archive._PATIENCE", 600)
    with pytest.raises(AudioError, match="failed too often"):
        read_clip(Clip(id="x", path=tmp_path / "a.hdf", member="0"), RATE)


def test_an_endless_computation_ends(archive, monkeypatch):
    """The worker ends itself by the time it computes, however long the one who asks would wait."""
    program = Path(archive_worker.__file__).read_text()
    endless = program.replace("_index(file)\n", "_endless()\n").replace("= 5.0, 2.0", "= 0.2, 0.2")
    endless = endless.replace("def _bound_time", "def _endless():\n    while True:\n        pass\n\n\ndef _bound_time")
    (archive.parent / "archive_worker.py").write_text(endless)
    monkeypatch.setattr("audiotag.data.archive.__file__", str(archive.parent / "archive.py"))
    with pytest.raises(ManifestError, match="found no end"):
        read_clips(archive)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
def test_arrays_in_other_files_are_not_read(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 11)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["target"] = np.zeros((1, 66), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["audio_name"] = np.array([b"a"])
        file["mp3"] = np.zeros((1, 4), np.uint8)
        if kind == "external link":
            file["target"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "target")
        elif kind == "soft link":
            file["there"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
            file["target"] = h5py.SoftLink("/there/target")
        elif kind == "external storage":
            file.create_dataset("target", (1, 66), np.uint8, external=[(str(secret), 0, 66)])
        else:
            layout = h5py.VirtualLayout((1, 66), np.uint8)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "target", (1, 66))
            file.create_virtual_dataset("target", layout)
    with pytest.raises(ManifestError, match=r"array 'target' (is a link|lies in another file)"):
        read_clips(tmp_path / "a.h5")
    with pytest.raises(AudioError, match="array 'target'"):
        read_clip(Clip(id="x", path=tmp_path / "a.h5", member="0"), RATE)
    with pytest.raises(AudioError, match="array 'target'"):
        read_clip(Clip(id="x", path=tmp_path / "a.h5", member="0"), RATE)


def test_an_array_that_was_never_written_is_not_made(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, shape in (("audio_name", (10**7,)), ("mp3", (10**7, 1)), ("target", (10**7, 66))):
            file.create_dataset(name, shape, "S20" if name == "audio_name" else np.uint8, chunks=True)
    with pytest.raises(ManifestError, match="larger than what the file holds"):
        read_clips(tmp_path / "a.h5")
