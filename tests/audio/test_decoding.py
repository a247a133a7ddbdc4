from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from audiotag.audio.decoding import probe, read_audio, stream_audio
from audiotag.errors import AudioError, MissingExtraError, OptionError, RecordingWarning

HAS_AV = importlib.util.find_spec("av") is not None


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((samples, channels)) * 0.1).astype(np.float32)


def write(path: Path, sound: np.ndarray, rate: int = 44_100, **options: Any) -> Path:
    soundfile.write(path, sound, rate, **options)
    return path


def cut(path: Path, name: str, keep: float) -> Path:
    content = path.read_bytes()
    short = path.with_name(name)
    short.write_bytes(content[: int(len(content) * keep)])
    return short


FORMATS = {
    "wav": {"subtype": "PCM_16"},
    "flac": {},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {},
    "aiff": {},
    "au": {},
    "caf": {},
    "w64": {},
    "rf64": {"format": "RF64"},
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    sound = noise(48_000 * 4, 2)
    return {name: write(folder / f"sound.{name}", sound, 48_000, **options) for name, options in FORMATS.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads_whole_and_in_blocks_alike(recordings: dict[str, Path], name: str) -> None:
    path = recordings[name]
    sound = read_audio(path, 32_000)
    reference, _ = soundfile.read(path, dtype="float32", always_2d=True)
    expected = soxr.resample(reference.mean(axis=1), 48_000, 32_000)
    assert sound.dtype == np.float32
    assert sound.shape == expected.shape == (128_000,)
    np.testing.assert_allclose(sound, expected, atol=1e-6)
    blocks = list(stream_audio(path, 32_000, block_seconds=0.37))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), sound)


@pytest.mark.parametrize("name", FORMATS)
def test_probe_tells_length_rate_and_channels(recordings: dict[str, Path], name: str) -> None:
    info = probe(recordings[name])
    assert (info.sample_rate, info.frames, info.channels, info.seconds) == (48_000, 192_000, 2, 4.0)
    assert info.exact


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("keep", [0.4, 0.995])
def test_a_truncated_file_is_an_error(recordings: dict[str, Path], name: str, keep: float) -> None:
    short = cut(recordings[name], f"short{keep}.{name}", keep)
    with pytest.raises(AudioError, match=r"truncated|damaged") as error:
        read_audio(short, 32_000)
    assert short.name in str(error.value)
    with pytest.raises(AudioError):
        list(stream_audio(short, 32_000, block_seconds=0.5))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_without_a_length_is_read(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "piped.wav", noise(16_000), 16_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_audio(path, 16_000).size == 16_000


def mp3_without_length(path: Path) -> Path:
    """Drop the first frame, which says how long the MP3 is."""
    content = path.read_bytes()
    second = content.index(content[:2], 200)  # the header's own fields end before that
    path.write_bytes(content[second:])
    return path


def test_a_constant_rate_mp3_without_a_length_is_read_and_its_truncation_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", noise(44_100 * 3), bitrate_mode="CONSTANT", compression_level=0.5)
    mp3_without_length(path)
    sound = read_audio(path, 44_100)
    assert abs(sound.size - 44_100 * 3) < 3000
    with pytest.raises(AudioError, match="truncated"):
        read_audio(cut(path, "cut.mp3", 0.47), 44_100)


def test_a_variable_rate_mp3_without_a_length_is_not_shortened(tmp_path: Path) -> None:
    sound = noise(44_100 * 4)
    sound[: 44_100 * 2] *= 1e-4
    path = mp3_without_length(write(tmp_path / "a.mp3", sound, bitrate_mode="VARIABLE", compression_level=0.5))
    if HAS_AV:
        assert abs(read_audio(path, 44_100).size - 44_100 * 4) < 5000
    else:
        with pytest.raises(MissingExtraError, match="video"):
            read_audio(path, 44_100)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_rates_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    sound = noise(rate // 2, channels)
    path = write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    result = read_audio(path, 32_000)
    assert result.shape == (16_000,)
    np.testing.assert_allclose(result, soxr.resample(sound.mean(axis=1), rate, 32_000), atol=1e-5)


@pytest.mark.parametrize(
    ("subtype", "tolerance"), [("PCM_U8", 1e-2), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-7), ("DOUBLE", 0)]
)
def test_depths_share_one_scale(tmp_path: Path, subtype: str, tolerance: float) -> None:
    sound = noise(4000)
    path = write(tmp_path / "a.wav", sound, 16_000, subtype=subtype)
    np.testing.assert_allclose(read_audio(path, 16_000), sound[:, 0], atol=tolerance)


def test_channels_cancel_in_the_mix(tmp_path: Path) -> None:
    sound = noise(8000)
    path = write(tmp_path / "a.wav", np.concatenate([sound, -sound], axis=1), 16_000, subtype="FLOAT")
    with pytest.warns(RecordingWarning, match=r"a\.wav: its channels cancel each other"):
        assert np.abs(read_audio(path, 16_000)).max() == 0


@pytest.mark.parametrize("name", ["unrelated", "one of eight", "silence"])
def test_channels_that_do_not_cancel_are_no_warning(tmp_path: Path, name: str) -> None:
    sound = {"unrelated": noise(8000, 2), "one of eight": noise(8000, 8), "silence": 1e-6 * noise(8000, 2)}[name]
    if name == "one of eight":
        sound[:, 1:] = 0
    if name == "silence":
        sound[:, 1] = -sound[:, 0]
    read_audio(write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT"), 16_000)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.wav", noise(8000), 16_000)

    def refuse(self: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"cannot be read \(Permission denied\)\. Check its permissions"):
        read_audio(path, 16_000)


def test_names_with_spaces_and_unicode(tmp_path: Path) -> None:
    path = write(tmp_path / "Küche — läuft [1] 雨.flac", noise(1600), 16_000)
    assert read_audio(path, 16_000).size == 1600
    assert read_audio(str(path), 16_000).size == 1600


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_one_sample(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", np.full((1, 1), 0.5), rate)
    assert read_audio(path, 16_000).size >= 1


def test_silence_is_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros((3200, 2)), 32_000)
    np.testing.assert_array_equal(read_audio(path, 16_000), np.zeros(1600))


def test_a_part_is_the_part(tmp_path: Path) -> None:
    sound = noise(16_000 * 3)
    path = write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    part = read_audio(path, 16_000, start=0.5, stop=1.25)
    np.testing.assert_array_equal(part, sound[8000:20_000, 0])
    np.testing.assert_array_equal(read_audio(path, 16_000, start=2.5, stop=99.0), sound[40_000:, 0])
    streamed = np.concatenate(list(stream_audio(path, 8_000, start=0.5, stop=1.25, block_seconds=0.1)))
    np.testing.assert_array_equal(streamed, read_audio(path, 8_000, start=0.5, stop=1.25))


@pytest.mark.parametrize("name", ["ogg", "mp3", "flac", "opus"])
def test_seeking_is_exact_in_compressed_files(recordings: dict[str, Path], name: str) -> None:
    whole = read_audio(recordings[name], 48_000)
    part = read_audio(recordings[name], 48_000, start=1.0, stop=2.0)
    np.testing.assert_allclose(part, whole[48_000:96_000], atol=1e-6)


def test_a_part_beyond_the_end_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1600), 16_000)
    with pytest.raises(AudioError, match="no sound after 5 s"):
        read_audio(path, 16_000, start=5.0)
    with pytest.raises(OptionError, match="from 3"):
        read_audio(path, 16_000, start=3.0, stop=2.0)


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BROKEN = {
    "missing": (lambda folder: folder / "nothing.wav", "does not exist"),
    "folder": (lambda folder: folder, "folder"),
    "empty": (lambda folder: write_bytes(folder / "empty.wav", b""), "empty"),
    "text": (lambda folder: write_bytes(folder / "text.wav", b"hello\n" * 99), "cannot be read as a recording"),
    "header only": (lambda folder: write(folder / "none.wav", np.zeros((0, 1)), 16_000), "no samples"),
    "nan": (lambda folder: write(folder / "nan.wav", nan_in_middle(), 16_000, subtype="FLOAT"), "NaN"),
    "infinite": (lambda folder: write(folder / "inf.wav", nan_in_middle() * np.inf, 16_000, subtype="FLOAT"), "NaN"),
    "integers": (
        lambda folder: write(folder / "int.wav", noise(1600) * 32768, 16_000, subtype="FLOAT"),
        "between -1 and 1",
    ),
}


def nan_in_middle() -> np.ndarray:
    sound = noise(1600)
    sound[700] = np.nan
    return sound


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("rate", [16_000, 32_000])
def test_bad_input_names_file_and_cause(tmp_path: Path, case: str, rate: int) -> None:
    make, cause = BROKEN[case]
    path = make(tmp_path)
    for read in (read_audio, lambda *arguments: list(stream_audio(*arguments))):
        with pytest.raises(AudioError, match=cause) as error:
            read(path, rate)
        assert str(path) in str(error.value)
        assert error.value.fix


def test_loud_float_recordings_are_kept(tmp_path: Path) -> None:
    sound = noise(1600) / 0.1 * 3
    path = write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path, 16_000), sound[:, 0])


def test_a_flac_without_a_length_is_not_half_read(recordings: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(recordings["flac"].read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    path = write_bytes(tmp_path / "piped.flac", bytes(content))
    if HAS_AV:
        np.testing.assert_array_equal(read_audio(path, 48_000), read_audio(recordings["flac"], 48_000))
    else:
        with pytest.raises(MissingExtraError, match=r"audiotag\[video\]"):
            read_audio(path, 48_000)


def write_m4a(path: Path, sound: np.ndarray, rate: int) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T), format="fltp", layout="stereo")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.skipif(not HAS_AV, reason="PyAV is not installed (pip install 'audiotag[video]')")
def test_other_containers_by_pyav(tmp_path: Path) -> None:
    times = np.arange(44_100 * 2) / 44_100
    tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    path = write_m4a(tmp_path / "a.m4a", np.stack([tone, tone], axis=1), 44_100)
    info = probe(path)
    assert (info.sample_rate, info.channels, info.exact) == (44_100, 2, False)
    sound = read_audio(path, 44_100)
    assert abs(sound.size - tone.size) < 4096
    assert np.abs(sound).max() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(path, 44_100))), sound)
    np.testing.assert_array_equal(read_audio(path, 44_100, start=0.5, stop=1.0), sound[22_050:44_100])
    with pytest.raises(AudioError, match=r"no decoder|damaged"):
        read_audio(write_bytes(tmp_path / "text.m4a", b"hello\n" * 99), 44_100)


@pytest.mark.skipif(HAS_AV, reason="PyAV is installed")
def test_other_containers_name_the_extra(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"audiotag\[video\]"):
        read_audio(write_bytes(tmp_path / "film.mp4", b"hello\n" * 99), 16_000)


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_a_name_that_is_not_valid_text(tmp_path: Path, recordings: dict[str, Path]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    path.write_bytes(recordings["wav"].read_bytes())
    np.testing.assert_array_equal(read_audio(path, 32_000), read_audio(recordings["wav"], 32_000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="pipe"):
        probe(tmp_path / "pipe.wav")


@pytest.mark.skipif(not HAS_AV, reason="PyAV (audiotag[video]) is not installed")
def test_more_than_eight_channels_of_a_film_are_averaged(tmp_path: Path) -> None:
    import av

    sound = np.random.default_rng(0).integers(-3000, 3000, (8000, 24)).astype(np.int16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="22.2")
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="22.2")
        frame.rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    np.testing.assert_allclose(read_audio(tmp_path / "a.mkv", 8000), sound.mean(1) / 32768, atol=1e-6)
