"""Clips with sound and pictures, as pre-training and retrieval read them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.plugin import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AudiotagError,
    Clip,
    ClipSet,
    ClipSource,
    FrontEnd,
    ReadAhead,
    TrainingError,
    clip_seconds,
    numpy_generator,
    read_clip,
    read_picture,
    require_video,
)
from audiotag_equiav.backbone import SAMPLE_RATE
from audiotag_equiav.pretraining_network import PretrainingOptions
from audiotag_equiav.transformations import draw_picture, draw_sound

Draw = tuple[int, int]
"""(index of the clip, place in the run): the place seeds what is random about this reading of the clip."""


@dataclass(frozen=True)
class PairBatch:
    """Pairs of sounds and pictures, with transformations.

    Attributes:
        waveforms: One float32 (samples,) for each clip; lengths differ.
        pictures: float32 (batch, 3, size, size) in [0, 1].
        sound_vectors: The transformation of each sound, (batch, 7 to 24).
        picture_vectors: The transformation of each picture, (batch, 18 or 21).
        sound_centroids: Sampled transformations, (batch, count, 7 to 24).
        picture_centroids: The same for pictures.
    """

    waveforms: tuple[Tensor, ...]
    pictures: Tensor
    sound_vectors: Tensor
    picture_vectors: Tensor
    sound_centroids: Tensor
    picture_centroids: Tensor

    def to(self, device: torch.device) -> PairBatch:
        """The batch on *device*."""
        rest = {name: one.to(device) for name, one in vars(self).items() if name != "waveforms"}
        return PairBatch(tuple(waveform.to(device) for waveform in self.waveforms), **rest)


def read_pairs(path: ClipSource | str | Path, **reading: Any) -> ClipSet:
    """Clips with sound and pictures from a list; it needs no labels, and those it has are passed over.

    Args:
        path: A JSON manifest or CSV with ``video_path``, or what a plugin's format reads.
        **reading: Fields of a `ClipSource`: ``format``, ``root``, and ``frames``, the pictures of a clip there are to
            choose from.

    Raises:
        ManifestError: The list is wrong, or clips in it have no pictures; the message names the first.
    """
    source = ClipSource.of(path, **reading)
    format = source.format_name()
    options: dict[str, Any] = {"labels_required": False} if format in ("json", "csv") else {}
    # A class that no list has: labels are unknown, and skipped.
    pairs = replace(source, format=format, labels=["pair"], unknown_labels="skip", format_options=options)
    clips = pairs.read()
    require_video(clips)
    return clips


class PairReader:
    """Reads the sound and a picture of a clip, and draws transformations for them.

    Args:
        clips: The clips; each needs pictures.
        options: Sizes of the network.
        centroid_count: Transformations sampled for the centroid.
        seed: Seed of everything drawn.
        training: True cuts long sounds at random, draws a random frame, and draws by the place in the run. False
            takes the beginning and the middle frame, and draws by the clip's id, so that a clip always gives the
            same.

    Raises:
        ManifestError: A clip has no pictures.
    """

    def __init__(
        self, clips: ClipSet, options: PretrainingOptions, *, centroid_count: int, seed: int, training: bool
    ) -> None:
        require_video(clips)
        self.clips = clips
        self.options = options
        self.centroid_count = centroid_count
        self.seed = seed
        self.training = training

    def __getitem__(self, draw: Draw) -> dict[str, NDArray[np.float32]]:
        """Read a clip: the fields of a `PairBatch`, of one clip.

        Raises:
            TrainingError: It cannot be read; the message names it.
        """
        index, place = draw
        clip = self.clips[index]
        try:
            return self._read(clip, numpy_generator(self.seed, "pair", place if self.training else clip.id))
        except AudiotagError as error:
            raise TrainingError(f"a clip cannot be read: {error}", where=f"clip {clip.id}") from error

    def batch(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """Read clips: the fields of a `PairBatch`; what has one shape is stacked."""
        items = [self[draw] for draw in draws]
        columns: dict[str, Any] = {name: [item[name] for item in items] for name in items[0]}
        return {name: one if name == "waveforms" else np.stack(one) for name, one in columns.items()}

    def _read(self, clip: Clip, generator: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        options = self.options
        size = options.picture_size
        chooser = generator if self.training else None
        picture = read_picture(clip, (3, size, size), generator=chooser)
        grid = {"frames": options.target_length, "bands": options.num_mel_bins}
        sounds = draw_sound(1 + self.centroid_count, generator, size=options.aug_size_a, **grid)
        pictures = draw_picture(1 + self.centroid_count, generator, size=options.aug_size_v, pixels=size)
        return {
            "waveforms": self._waveform(clip, generator),
            "pictures": picture,
            "sound_vectors": sounds[0],
            "picture_vectors": pictures[0],
            "sound_centroids": sounds[1:],
            "picture_centroids": pictures[1:],
        }

    def _waveform(self, clip: Clip, generator: np.random.Generator) -> NDArray[np.float32]:
        seconds = self.options.target_length / 100 + 0.015  # the last frame reaches 15 ms beyond its hop
        start = 0.0
        if self.training:
            start = generator.random() * max(0.0, clip_seconds(clip) - seconds)
        return read_clip(clip, SAMPLE_RATE, start=start, stop=start + seconds)


class PairBatches:
    """Batches of pairs, read ahead by *workers* processes, which live until `close` (0: by this one)."""

    def __init__(self, reader: PairReader, workers: int) -> None:
        self._ahead = ReadAhead(reader.batch, workers)

    def read(self, plan: Sequence[Sequence[Draw]]) -> Generator[PairBatch]:
        """Yield the planned batches.

        Raises:
            TrainingError: A clip cannot be read, which the message names, or as `audiotag.training.ahead.ReadAhead`.
        """
        with closing(self._ahead.read(plan)) as ahead:
            for batch in ahead:
                waveforms = tuple(map(torch.from_numpy, batch.pop("waveforms")))
                yield PairBatch(waveforms=waveforms, **{name: torch.from_numpy(one) for name, one in batch.items()})

    def close(self) -> None:
        """End the processes."""
        self._ahead.close()


def normalised(pictures: Tensor) -> Tensor:
    """Pictures (batch, 3, size, size) in [0, 1] as the networks take them: with ImageNet's mean and deviation."""
    mean, std = (pictures.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    return (pictures - mean) / std


def spectrograms(front_end: FrontEnd, waveforms: Sequence[Tensor]) -> Tensor:
    """Features (batch, bands, frames) of waveforms of any lengths; those of one length are computed together."""
    groups: dict[int, list[int]] = {}
    for index, waveform in enumerate(waveforms):
        groups.setdefault(len(waveform), []).append(index)
    features: list[Tensor | None] = [None] * len(waveforms)
    for indices in groups.values():
        together = front_end(torch.stack([waveforms[index] for index in indices]))
        for index, one in zip(indices, together, strict=True):
            features[index] = one
    return torch.stack([one for one in features if one is not None])
