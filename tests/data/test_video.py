from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.video import IMAGENET_MEAN, IMAGENET_STD, read_frame, read_picture, require_video
from audiotag.errors import ManifestError, MissingExtraError, OptionError
from audiotag.labels import LabelSet
from audiotag.seeding import numpy_generator


def clip(folder: Path | None, identity: str = "a b", frames: int = 10) -> Clip:
    return Clip(id=identity, path=Path("sound.wav"), video_path=folder, frames=frames)


def grey_level(picture: np.ndarray) -> float:
    return round(float(picture.mean()) * 255)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Ten frames of 40 × 30 pixels, each of another grey."""
    for index in range(10):
        (tmp_path / f"frame_{index}").mkdir()
        Image.new("RGB", (40, 30), (20 * index,) * 3).save(tmp_path / f"frame_{index}" / "a b.jpg", quality=100)
    return tmp_path


def test_the_middle_frame_is_taken_without_a_generator(frames: Path) -> None:
    picture = read_frame(clip(frames), (3, 32, 32))
    assert picture.shape == (3, 32, 32)
    assert picture.dtype == np.float32
    for channel in range(3):
        expected = (100 / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(picture[channel], expected, atol=0.02)


def test_a_generator_draws_every_frame_and_repeats_itself(frames: Path) -> None:
    def draw(seed: int) -> list[float]:
        generator = numpy_generator(seed)
        return [grey_level(read_picture(clip(frames), (3, 16, 16), generator=generator)) for _ in range(60)]

    first = draw(1)
    assert first == draw(1)
    assert first != draw(2)
    assert {round(level / 20) for level in first} == set(range(10))


def test_the_centre_is_kept_and_the_shorter_side_fits(tmp_path: Path) -> None:
    (tmp_path / "frame_5").mkdir()
    wide = np.zeros((32, 96, 3), dtype=np.uint8)
    wide[:16, 32:64, 0] = 255  # the upper half of the middle third is red
    wide[:, :32, 2] = wide[:, 64:, 2] = 255
    Image.fromarray(wide).save(tmp_path / "frame_5" / "a b.jpg", quality=100, subsampling=0)
    picture = read_picture(clip(tmp_path), (3, 64, 64))
    assert picture[0, 4:28, 4:60].min() > 0.9
    assert picture[0, 36:].max() < 0.1
    assert picture[2, :, 6:58].max() < 0.2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    (tmp_path / "frame_5").mkdir()
    Image.new("RGB", (20, 20), (90, 90, 90)).convert(mode).save(tmp_path / "frame_5" / "a b.jpg")
    picture = read_picture(clip(tmp_path), (3, 16, 16))
    np.testing.assert_allclose(picture, 90 / 255, atol=0.02)


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "tiny"])
def test_a_bad_picture_is_an_error_that_names_clip_and_file(frames: Path, damage: str) -> None:
    path = frames / "frame_5" / "a b.jpg"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "text":
        path.write_text("no picture")
    else:
        Image.new("RGB", (15, 40)).save(path)
    with pytest.raises(ManifestError) as caught:
        read_frame(clip(frames))
    assert "clip a b" in str(caught.value)
    assert str(frames) in str(caught.value)


def test_a_sixteen_bit_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "frame_5").mkdir()
    Image.fromarray(np.full((20, 20), 40_000, dtype=np.uint16)).save(tmp_path / "frame_5" / "a b.jpg", format="PNG")
    with pytest.raises(ManifestError, match="mode"):
        read_frame(clip(tmp_path))


def test_a_clip_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"clip a b.*no video_path"):
        read_frame(clip(None))
    with pytest.raises(ManifestError, match="clip a b"):
        read_frame(clip(tmp_path / "nowhere"))


def test_sets_that_mix_clips_with_and_without_pictures_are_refused(tmp_path: Path) -> None:
    labels = LabelSet.from_names(["x"])
    whole = ClipSet((clip(tmp_path, "one"), clip(tmp_path, "two")), labels)
    require_video(whole)
    mixed = ClipSet((clip(tmp_path, "one"), clip(None, "two")), labels)
    with pytest.raises(ManifestError, match=r"1 of 2 clips.*'two'"):
        require_video(mixed)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 9)])
def test_impossible_shapes_are_refused(frames: Path, shape: tuple[int, int, int]) -> None:
    with pytest.raises(OptionError):
        read_frame(clip(frames), shape)


def test_a_folder_of_fewer_frames(frames: Path) -> None:
    for index in range(3, 10):
        (frames / f"frame_{index}" / "a b.jpg").unlink()
    with pytest.raises(ManifestError, match="frames="):
        read_frame(clip(frames))
    assert grey_level(read_picture(clip(frames, frames=3), (3, 16, 16))) == pytest.approx(20, abs=3)
    generator = numpy_generator(1)
    drawn = {grey_level(read_picture(clip(frames, frames=3), (3, 16, 16), generator=generator)) for _ in range(30)}
    assert {round(level / 20) for level in drawn} == {0, 1, 2}


def test_a_video_without_pyav_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = tmp_path / "film.mp4"
    video.write_bytes(b"film")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiotag\[video\]'"):
        read_frame(clip(video))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two seconds at 10 frames a second whose grey level is 10 × the frame's number."""
    av = pytest.importorskip("av", reason="PyAV (audiotag[video]) is not installed")
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 4_000_000
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("pictures", ["frames", "film"])
def test_pictures_without_pillow_say_what_to_install(
    pictures: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request.getfixturevalue(pictures)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"reading pictures .*'PIL'.* pip install 'audiotag\[video\]'"):
        read_frame(clip(path))


def test_evenly_spaced_frames_of_a_video_file(film: Path) -> None:
    middle = read_picture(clip(film), (3, 32, 32))
    assert grey_level(middle) == pytest.approx(110, abs=5)  # frame 5 of 10 begins at 1.1 s: the 11th of 20
    assert grey_level(read_picture(clip(film, frames=1), (3, 32, 32))) == pytest.approx(100, abs=5)
    part = Clip(id="part", path=film, video_path=film, start=0.0, stop=0.4, frames=1)
    assert grey_level(read_picture(part, (3, 32, 32))) == pytest.approx(20, abs=5)


def test_a_broken_video_file_is_an_error_that_names_the_clip(film: Path) -> None:
    film.write_bytes(b"this is no video" * 50)
    with pytest.raises(ManifestError, match="clip a b"):
        read_frame(clip(film))
