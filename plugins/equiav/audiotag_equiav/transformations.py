"""Transformations of sound and pictures for pre-training, drawn as the vectors that describe them.

A transformation is a vector of numbers (Kim et al., ICML 2024, arXiv 2403.09502, section 3.2): it is drawn, applied
and encoded from the same numbers, so the description cannot differ from what was done. The numbers of a step that
is off are 0 (its order of four: 0, 1, 2, 3).

Sound (24 numbers; the shorter vectors are the first 7, 12, 21 or 23):

====== ============================================================================================
0      SpecAugment on (probability 0.8)
1–4    time mask start and end (share of frames), frequency mask start and end (share of bands)
5–6    shift on, frames shifted to the right, cyclically (share of frames)
7      crop on
8–11   top and left, height and width: time start, band start, time extent, band extent (shares)
12     jitter on (probability 0.8)
13–16  order of its steps: 0 brightness, 1 contrast, 2 saturation, 3 hue
17–20  factors of brightness, contrast, saturation less 1; shift of hue (of a full turn)
21–22  blur on (probability 0.5), deviation in bands and frames
23     flip along time (probability 0.5)
====== ============================================================================================

Picture (18 numbers, or 21):

====== ============================================================================================
0–4    crop on; top, left, height, width (shares)
5–13   jitter: on, order, amounts, as for sound
14–15  blur on, deviation in pixels
16     flip from left to right (probability 0.5)
17     grey (probability 0.2)
18–19  quarter turns on, counter-clockwise turn (share of a full turn)
20     flip from top to bottom (probability 0.5)
====== ============================================================================================
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    gaussian_blur,
    rgb_to_grayscale,
)

from audiotag.plugin import OptionError

SOUND_SIZES = (7, 12, 21, 23, 24)
PICTURE_SIZES = (18, 21)

LONGEST_TIME_MASK = 192 / 1024
LONGEST_BAND_MASK = 48 / 128

_JITTER = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
_ATTEMPTS = 10
_Vectors = NDArray[np.float32]


def draw_sound(
    count: int, generator: np.random.Generator, *, size: int = 24, frames: int = 1024, bands: int = 128
) -> _Vectors:
    """Draw *count* transformations of spectrograms.

    Args:
        count: How many.
        generator: The only source of randomness.
        size: Numbers of a vector: 7, 12, 21, 23 or 24.
        frames: Frames of the spectrograms; masks, shifts and crops lie on whole ones.
        bands: Bands of the spectrograms.

    Returns:
        float32 (count, size).

    Raises:
        OptionError: *size* is none of these.
    """
    _require_size(size, SOUND_SIZES)
    vectors = np.zeros((count, 24), dtype=np.float32)
    masked = generator.random(count) < 0.8
    vectors[:, 0] = masked
    for start, extent, longest in ((1, frames, LONGEST_TIME_MASK), (3, bands, LONGEST_BAND_MASK)):
        lengths = generator.integers(0, int(extent * longest), size=count, endpoint=True)
        starts = generator.integers(0, extent - lengths, endpoint=True)
        vectors[:, start] = masked * starts / extent
        vectors[:, start + 1] = masked * (starts + lengths) / extent
    vectors[:, 5] = 1
    vectors[:, 6] = generator.integers(-frames, frames, size=count, endpoint=True) / frames
    # The aspect 0.1 to 0.1875 is that of 128 bands × 1024 frames, 0.125 for the whole.
    vectors[:, 7:12] = _draw_crops(count, generator, (0.1 / 0.125, 0.1875 / 0.125), (frames, bands))
    vectors[:, 12:21] = _draw_jitter(count, generator)
    vectors[:, 21:23] = _draw_blur(count, generator)
    vectors[:, 23] = generator.random(count) < 0.5
    return vectors[:, :size]


def draw_picture(count: int, generator: np.random.Generator, *, size: int = 18, pixels: int = 224) -> _Vectors:
    """Draw *count* transformations of pictures.

    Args:
        count: How many.
        generator: The only source of randomness.
        size: Numbers of a vector: 18 or 21.
        pixels: Side of the pictures; crops lie on whole pixels.

    Returns:
        float32 (count, size).

    Raises:
        OptionError: *size* is none of these.
    """
    _require_size(size, PICTURE_SIZES)
    vectors = np.zeros((count, 21), dtype=np.float32)
    vectors[:, :5] = _draw_crops(count, generator, (0.75, 4 / 3), (pixels, pixels))
    vectors[:, 5:14] = _draw_jitter(count, generator)
    vectors[:, 14:16] = _draw_blur(count, generator)
    vectors[:, 16] = generator.random(count) < 0.5
    vectors[:, 17] = generator.random(count) < 0.2
    turns = generator.integers(0, 4, size=count)
    vectors[:, 18] = turns > 0
    vectors[:, 19] = turns / 4
    vectors[:, 20] = generator.random(count) < 0.5
    return vectors[:, :size]


def _require_size(size: int, sizes: tuple[int, ...]) -> None:
    if size not in sizes:
        raise OptionError(
            f"a transformation of {size} numbers is not known",
            where="equiav",
            fix=f"Give one of: {', '.join(map(str, sizes))}.",
        )


def _draw_crops(
    count: int, generator: np.random.Generator, ratios: tuple[float, float], extent: tuple[int, int]
) -> _Vectors:
    """On, top, left, height, width; area 0.08 to 1, width / height within *ratios* in shares of the whole."""
    shape = (count, _ATTEMPTS)
    area = generator.uniform(0.08, 1.0, shape)
    ratio = np.exp(generator.uniform(math.log(ratios[0]), math.log(ratios[1]), shape))
    heights, widths = np.sqrt(area / ratio), np.sqrt(area * ratio)
    fits = (heights <= 1) & (widths <= 1)
    chosen = fits.argmax(axis=1)
    rows = np.arange(count)
    # A draw whose attempts all reach over the edge keeps the whole.
    heights = np.where(fits.any(axis=1), heights[rows, chosen], 1.0)
    widths = np.where(fits.any(axis=1), widths[rows, chosen], 1.0)
    crops = np.ones((count, 5), dtype=np.float32)
    for place, lengths, whole in ((0, heights, extent[0]), (1, widths, extent[1])):
        size = np.clip(np.round(lengths * whole), 1, whole).astype(np.int64)
        crops[:, 1 + place] = generator.integers(0, whole - size, endpoint=True) / whole
        crops[:, 3 + place] = size / whole
    return crops


def _draw_jitter(count: int, generator: np.random.Generator) -> _Vectors:
    """On, order of four, factors of brightness, contrast and saturation less 1, shift of hue."""
    jitter = np.zeros((count, 9), dtype=np.float32)
    on = generator.random(count) < 0.8
    order = generator.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    jitter[:, 0] = on
    jitter[:, 1:5] = np.where(on[:, None], order, np.arange(4))
    jitter[:, 5:8] = on[:, None] * generator.uniform(-0.4, 0.4, (count, 3))
    jitter[:, 8] = on * generator.uniform(-0.1, 0.1, count)
    return jitter


def _draw_blur(count: int, generator: np.random.Generator) -> _Vectors:
    """On, deviation."""
    on = generator.random(count) < 0.5
    return np.stack([on, on * generator.uniform(0.1, 2.0, count)], axis=1).astype(np.float32)


def apply_sound(spectrogram: Tensor, vectors: Tensor, *, fill: float = 0.0) -> Tensor:
    """Transform spectrograms as *vectors* say.

    Jitter takes a spectrogram, scaled to [0, 1] by its own extremes, for a grey picture; a change of saturation or
    hue leaves grey as it is.

    Args:
        spectrogram: float32 (batch, bands, frames).
        vectors: (batch, 7, 12, 21, 23 or 24).
        fill: Value of masked parts; 0 is the mean of normalised spectrograms.

    Returns:
        float32 of the same shape.
    """
    _require_size(vectors.shape[1], SOUND_SIZES)
    pairs = zip(spectrogram, vectors.tolist(), strict=True)
    return torch.stack([_apply_sound(one, vector, fill) for one, vector in pairs])


def _apply_sound(spectrogram: Tensor, vector: list[float], fill: float) -> Tensor:
    bands, frames = spectrogram.shape
    if vector[0]:
        spectrogram = spectrogram.clone()
        spectrogram[:, round(vector[1] * frames) : round(vector[2] * frames)] = fill
        spectrogram[round(vector[3] * bands) : round(vector[4] * bands)] = fill
    if vector[5]:
        spectrogram = spectrogram.roll(round(vector[6] * frames), dims=1)
    if len(vector) > 7 and vector[7]:
        time, band, time_extent, band_extent = vector[8:12]
        spectrogram = _crop(spectrogram[None], band, time, band_extent, time_extent)[0]
    if len(vector) > 12 and vector[12]:
        low, high = spectrogram.amin(), spectrogram.amax()
        span = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
        spectrogram = _jitter(((spectrogram - low) / span)[None], vector[13:21])[0] * span + low
    if len(vector) > 21 and vector[21]:
        spectrogram = _blur(spectrogram[None], vector[22])[0]
    if len(vector) > 23 and vector[23]:
        spectrogram = spectrogram.flip(1)
    return spectrogram


def apply_picture(picture: Tensor, vectors: Tensor) -> Tensor:
    """Transform pictures as *vectors* say.

    Args:
        picture: float32 (batch, 3, size, size) in [0, 1], not yet normalised.
        vectors: (batch, 18 or 21).

    Returns:
        float32 of the same shape, in [0, 1].
    """
    _require_size(vectors.shape[1], PICTURE_SIZES)
    pairs = zip(picture, vectors.tolist(), strict=True)
    return torch.stack([_apply_picture(one, vector) for one, vector in pairs])


def _apply_picture(picture: Tensor, vector: list[float]) -> Tensor:
    if vector[0]:
        picture = _crop(picture, *vector[1:5])
    if vector[5]:
        picture = _jitter(picture, vector[6:14])
    if vector[14]:
        picture = _blur(picture, vector[15])
    if vector[16]:
        picture = picture.flip(2)
    if vector[17]:
        picture = rgb_to_grayscale(picture, num_output_channels=3)
    if len(vector) > 18 and vector[18]:
        picture = picture.rot90(round(vector[19] * 4), dims=(1, 2))
    if len(vector) > 20 and vector[20]:
        picture = picture.flip(1)
    return picture


def _crop(picture: Tensor, top: float, left: float, height: float, width: float) -> Tensor:
    """The part of (channels, rows, columns) that the shares name, stretched to the whole."""
    rows, columns = picture.shape[1:]
    begin, end = round(top * rows), round((top + height) * rows)
    start, stop = round(left * columns), round((left + width) * columns)
    part = picture[None, :, begin:end, start:stop]
    stretched = functional.interpolate(part, (rows, columns), mode="bilinear", align_corners=False, antialias=True)
    return stretched[0]


def _jitter(picture: Tensor, numbers: list[float]) -> Tensor:
    """The four steps in their order; (channels, rows, columns) in [0, 1]."""
    factors = (1 + numbers[4], 1 + numbers[5], 1 + numbers[6], numbers[7])
    for step in map(int, numbers[:4]):
        picture = _JITTER[step](picture, factors[step])
    return picture


def _blur(picture: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of (channels, rows, columns), with a kernel that reaches three deviations."""
    size = 2 * math.ceil(3 * deviation) + 1
    blurred: Tensor = gaussian_blur(picture, [size, size], [deviation, deviation])
    return blurred
