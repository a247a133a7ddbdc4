"""Pictures of clips: one frame from a folder of frames or from a video file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.containers import open_container
from audiotag.audio.failures import decoding
from audiotag.data.clips import Clip, ClipSet
from audiotag.errors import AudioError, ManifestError, MissingExtraError, OptionError, needed_for
from audiotag.places import is_file, is_folder

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_SIDE = 16
"""Pixels below which a side of a picture shows nothing that a network was trained on."""

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def require_video(clips: ClipSet) -> None:
    """Check that every clip names its pictures.

    Raises:
        ManifestError: Some clips have no ``video_path``; the message names the first and the count.
    """
    without = [clip for clip in clips.clips if clip.video_path is None]
    if without:
        raise ManifestError(
            f"{len(without)} of {len(clips)} clips have no video_path, the first is {without[0].id!r}",
            where=clips.source,
            fix="Give each clip its pictures, or use a model without pictures (--mode audio_only).",
        )


def read_frame(
    clip: Clip, shape: tuple[int, int, int] = (3, 224, 224), *, generator: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """One picture of *clip*, ready for a network trained on ImageNet statistics.

    Args:
        clip: Its `video_path` is a folder with ``frame_0/{id}.jpg`` to ``frame_9/{id}.jpg`` (`Clip.frames` of them),
            or a video file, of which as many evenly spaced frames between the clip's start and stop are considered.
        shape: (3, height, width) of the result, height = width.
        generator: Chooses the frame at random (training). None takes the middle one (frame 5 of 10).

    Returns:
        float32 of *shape*: resized (bicubic) so that the shorter side fits, cut from the centre, then
        (x − mean) / deviation with ImageNet's, from x in [0, 1]. Roughly −2.2 to 2.7.

    Raises:
        ManifestError: The clip has no picture, or it cannot be read; the message names clip and file.
        MissingExtraError: Pillow is not installed, or a video file is given and PyAV is not.
        OptionError: *shape* cannot work.
    """
    return normalise_picture(read_picture(clip, shape, generator=generator))


def normalise_picture(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(x − mean) / deviation with ImageNet's; *picture* is float32 (3, height, width) in [0, 1]."""
    mean = np.asarray(IMAGENET_MEAN, dtype=np.float32)[:, None, None]
    std = np.asarray(IMAGENET_STD, dtype=np.float32)[:, None, None]
    return (picture - mean) / std


def read_picture(
    clip: Clip, shape: tuple[int, int, int] = (3, 224, 224), *, generator: np.random.Generator | None = None
) -> NDArray[np.float32]:
    """As `read_frame`, before normalising: float32 of *shape* in [0, 1]."""
    channels, height, width = shape
    if channels != 3 or height != width or height < 1:
        raise OptionError(f"a picture cannot have the shape {shape}", fix="Give (3, size, size).")
    if clip.video_path is None:
        raise ManifestError("the clip has no video_path", where=f"clip {clip.id}", fix="Name its pictures.")
    index = clip.frames // 2 if generator is None else int(generator.integers(clip.frames))
    with needed_for("reading pictures"):  # Pillow, which PyAV needs for them too
        if is_folder(clip.video_path):
            image = _from_folder(clip, clip.video_path, index)
        elif is_file(clip.video_path):
            image = _from_video(clip, clip.video_path, index)
        else:
            fix = "Check video_path in the manifest, or give the folder it starts from (--root)."
            raise _wrong(clip, clip.video_path, "there is no such folder of frames or video file", fix)
        return _fit(image, height, clip)


def _wrong(clip: Clip, path: Path | None, what: str, fix: str | None) -> ManifestError:
    return ManifestError(what, where=f"clip {clip.id} ({path})", fix=fix)


def _from_folder(clip: Clip, folder: Path, index: int) -> Image:
    from PIL import Image as pillow

    path = folder / f"frame_{index}" / f"{clip.id}.jpg"
    try:
        with pillow.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        fix = (
            f"Each clip needs frame_0 to frame_{clip.frames - 1}, each with its picture as {{video_id}}.jpg; "
            "where there are fewer, give their number (--frames)."
        )
        raise _wrong(clip, path, "the picture does not exist", fix) from error
    # Pillow answers damaged files with any of these.
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise _wrong(clip, path, f"the picture cannot be read: {error}", "Make it again as a JPEG file.") from error


def _from_video(clip: Clip, path: Path, index: int) -> Image:
    try:
        with open_container(path) as container, decoding(path, "the video cannot be read", "Convert it to MP4."):
            if not container.streams.video:
                raise AudioError("the file has no video", fix="Give a folder of frames or a video file.")
            frame = _seek(container, _time(container, clip, index))
            if frame is not None:
                image: Image = frame.to_image()
                return image
    except MissingExtraError:
        raise
    except AudioError as error:
        raise _wrong(clip, path, error.what, error.fix) from error
    what = f"the video holds no frame at place {index} of {clip.frames}"
    raise _wrong(clip, path, what, "Check the clip's start and stop.")


def _time(container: Any, clip: Clip, index: int) -> float:
    """Second of the frame *index*: the middle of the index-th of `Clip.frames` equal parts of the clip."""
    stream = container.streams.video[0]
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    else:
        seconds = (container.duration or 0) / 1e6
    stop = seconds if clip.stop is None else clip.stop if not seconds else min(clip.stop, seconds)
    return clip.start + (stop - clip.start) * (index + 0.5) / clip.frames


def _seek(container: Any, second: float) -> Any:
    """The last frame that begins at or before *second*, or the first one there is."""
    stream = container.streams.video[0]
    begin = float((stream.start_time or 0) * stream.time_base)
    container.seek(max(0, int((second + begin) / stream.time_base)), stream=stream)
    chosen = None
    for frame in container.decode(stream):
        if chosen is not None and frame.time is not None and frame.time - begin > second:
            break
        chosen = frame
    return chosen


def _fit(image: Image, size: int, clip: Clip) -> NDArray[np.float32]:
    from PIL import Image as pillow

    if image.mode not in _EIGHT_BIT_MODES:
        what = f"the picture has the mode {image.mode!r}, and 8 bits per channel are needed"
        raise _wrong(clip, clip.video_path, what, "Convert it to RGB.")
    if min(image.size) < MIN_SIDE:
        what = f"the picture has {image.width} × {image.height} pixels, and each side needs {MIN_SIDE}"
        raise _wrong(clip, clip.video_path, what, "Extract the frame again at its full size.")
    image = image.convert("RGB")
    scale = size / min(image.size)
    width, height = max(size, int(image.width * scale)), max(size, int(image.height * scale))
    image = image.resize((width, height), pillow.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    image = image.crop((left, top, left + size, top + size))
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
