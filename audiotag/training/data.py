"""Clips → batches of waveforms, decoded in worker processes; nothing but paths and labels stays in memory."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.audio.windows import fit_length
from audiotag.data import recording
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.sound_cache import SoundCache
from audiotag.errors import AudiotagError, OptionError, TrainingError
from audiotag.models.backbone import Backbone
from audiotag.seeding import numpy_generator
from audiotag.training.ahead import ReadAhead
from audiotag.training.mixing import PARTNER, SetPartners
from audiotag.training.timed_labels import Excerpt

Draw = tuple[int, int]
"""(index of the clip, place in the epoch): the place seeds what is random about this reading of the clip."""


HEARD = "heard"
"""What the `Excerpt` of a clip is called among its inputs."""

PROBED = 10_000
"""Clips whose recordings are opened before a run begins, some seconds."""


def sample_of(clips: ClipSet) -> ClipSet:
    """At most `PROBED` of the clips, from all over the list: what opening every recording would tell, in seconds."""
    if len(clips) <= PROBED:
        return clips
    chosen = numpy_generator("clips to look into").choice(len(clips), PROBED, replace=False)
    return clips.subset(np.sort(chosen))


def clip_seconds(clips: ClipSet) -> NDArray[np.float64]:
    """Length of each clip in seconds, from the headers of the files.

    Raises:
        TrainingError: Files cannot be read; the message names the first few and the count.
    """

    def length(clip: Clip) -> float | AudiotagError:
        try:
            return recording.clip_seconds(clip)
        except AudiotagError as error:
            return error

    with ThreadPoolExecutor(max_workers=8) as pool:
        lengths = list(pool.map(length, clips))
    broken = [length for length in lengths if isinstance(length, AudiotagError)]
    if broken:
        raise TrainingError(
            f"{len(broken)} of {len(clips)} clips cannot be read: " + "; ".join(map(str, broken[:5])),
            where=clips.source,
            fix="Repair or remove them; training does not skip them silently.",
        )
    return np.array(lengths, dtype=np.float64)


@dataclass(frozen=True)
class Intake:
    """How a network takes clips.

    Attributes:
        sample_rate: Hz of the waveform.
        shortest: Seconds up to which shorter clips are repeated.
        longest: Seconds to which longer clips are cut; the same as *shortest* for clips of one length.
        inputs: As `Backbone.inputs`.
        video_shape: As `Backbone.video_shape`.
    """

    sample_rate: int
    shortest: float
    longest: float
    inputs: Sequence[str] = ("waveform",)
    video_shape: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, backbone: Backbone, bounds: tuple[float, float]) -> Intake:
        """How *backbone* takes clips, of lengths within *bounds* (seconds)."""
        return cls(backbone.sample_rate, *bounds, backbone.inputs, backbone.video_shape)


@dataclass(frozen=True, eq=False)
class ClipReader:
    """Reads one clip at a time as a waveform.

    Attributes:
        clips: What to read.
        intake: How the network takes them.
        seed: Seed of the cuts, together with the place in the epoch. None cuts from the clip's beginning.
        cache: Where decoded clips are kept; None decodes each time.
        partners: How clips are mixed with others of the whole set; None mixes none.
        kinds: bool (clips,); clips are mixed with those of their kind. None: all are alike.
    """

    clips: ClipSet
    intake: Intake
    seed: int | None = None
    cache: SoundCache | None = None
    partners: SetPartners | None = None
    kinds: NDArray[np.bool_] | None = None

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """Read a clip: ``waveform`` (samples,) and ``video`` where the network takes them, ``index``, and partners.

        With a waveform comes ``heard`` (3,), the `Excerpt` of the clip that it is.

        Raises:
            TrainingError: A clip cannot be read; the message names it.
        """
        index, place = draw
        samples, inputs = self._read(index, self._generator("cut", place))
        item: dict[str, Any] = {"index": index, **inputs}
        if self.partners is not None:
            drawn = self.partners.draw(self._alike(index), numpy_generator(self.seed or 0, "partner", place))
            item |= {"partner": index, "share": 1.0}
            if drawn is None:
                # A batch has one shape: a clip that is left alone brings silence, of which nothing is taken.
                inputs = {name: value if name == HEARD else np.zeros_like(value) for name, value in inputs.items()}
            else:
                partner, share = drawn
                item |= {"partner": partner, "share": share}
                length = samples if self.partners.follows else None
                _, inputs = self._read(partner, self._generator("partner's cut", place), length)
            item |= {f"{PARTNER}{name}": value for name, value in inputs.items()}
        return item

    def batch(self, draws: Sequence[Draw]) -> list[dict[str, NDArray[Any]]]:
        """Read clips, and stack those of one length."""
        by_length: dict[int, list[dict[str, Any]]] = {}
        for draw in draws:
            item = self[draw]
            by_length.setdefault(len(item.get("waveform", ())), []).append(item)
        return [_stack(part) for part in by_length.values()]

    def _alike(self, index: int) -> int | NDArray[np.int64]:
        """The clips that may be mixed into the one at *index*: how many, or which."""
        return len(self.clips) if self.kinds is None else self._of_kind[int(self.kinds[index])]

    @cached_property
    def _of_kind(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        assert self.kinds is not None
        return np.flatnonzero(~self.kinds), np.flatnonzero(self.kinds)

    def _generator(self, *parts: int | str) -> np.random.Generator | None:
        return None if self.seed is None else numpy_generator(self.seed, *parts)

    def _read(
        self, index: int, generator: np.random.Generator | None, length: int | None = None
    ) -> tuple[int, dict[str, NDArray[Any]]]:
        """How many samples of a clip there are (0 where none are taken), and what the network takes, with ``heard``.

        *generator* draws the cut and the picture; *length* samples are what the sound takes on before it is fitted.
        """
        clip, intake = self.clips[index], self.intake
        samples = 0
        inputs: dict[str, NDArray[Any]] = {}
        try:
            if "waveform" in intake.inputs:
                rate = intake.sample_rate
                least = math.ceil(intake.shortest * rate)
                most = round(intake.longest * rate)
                begin, sound = self._sound(clip, most, generator)
                end = begin + len(sound)
                if length is not None:
                    sound = _followed(sound, length)
                samples = len(sound)
                inputs["waveform"] = fit_length(sound, min(max(samples, least), max(least, most)))
                heard = Excerpt(begin / rate, min(end, begin + samples) / rate, samples / rate)
                inputs[HEARD] = np.array(heard, dtype=np.float32)
            if "video" in intake.inputs:
                from audiotag.data.video import read_frame

                if intake.video_shape is None:
                    raise TrainingError("the network takes pictures and states no video_shape")
                inputs["video"] = read_frame(clip, intake.video_shape, generator=generator)
        except AudiotagError as error:
            raise TrainingError(f"a clip cannot be read: {error}", where=f"clip {clip.id}") from error
        return samples, inputs

    def _sound(self, clip: Clip, most: int, generator: np.random.Generator | None) -> tuple[int, NDArray[np.float32]]:
        """*most* samples of a clip at most, and where in it they begin."""
        rate = self.intake.sample_rate
        if self.cache is not None:
            cuts: list[tuple[int, int]] = []

            def cut(samples: int) -> tuple[int, int]:
                cuts.append(_cut(samples, most, generator))
                return cuts[-1]

            sound = self.cache.read(clip, rate, cut)
            return cuts[-1][0], sound
        # Cuts are drawn on the grid of the rate, so that they are the same where clips come from the cache.
        samples = round(recording.clip_seconds(clip) * rate)
        begin, end = _cut(samples, most, generator)
        stop = end / rate if end - begin < samples else None
        return begin, recording.read_clip(clip, rate, start=begin / rate, stop=stop)


def _followed(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """*sound* freed of its mean, its beginning or with zeros after it, at the length of the clip it is mixed into."""
    centred = (sound - sound.mean(dtype=np.float64)).astype(np.float32)[:samples]
    return np.pad(centred, (0, samples - len(centred)))


def _cut(samples: int, longest: int, generator: np.random.Generator | None) -> tuple[int, int]:
    """First and last sample of what is heard of a clip of *samples*."""
    start = round(generator.random() * (samples - longest)) if generator is not None and samples > longest else 0
    return start, min(start + longest, samples)


class Batches:
    """Batches of clips, read ahead by other processes, which live until `close`.

    Args:
        readers: Name of a set of clips (``"train"``) → what reads one of them.
        workers: Number of processes that read; 0 reads in this one.
        pin: Whether batches are made ready for a GPU.
    """

    def __init__(self, readers: Mapping[str, ClipReader], workers: int, pin: bool = False) -> None:
        self._ahead = ReadAhead(partial(_read_part, readers), workers)
        self._pin = pin

    def close(self) -> None:
        """End the processes."""
        self._ahead.close()

    def read(self, of: str, batches: Sequence[Sequence[Draw]]) -> Generator[dict[str, Tensor]]:
        """Yield the planned batches of a set: ``waveform`` (batch, samples), ``video`` where taken, ``index`` (batch,).

        With waveforms comes ``heard`` (batch, 3), the `Excerpt` of each clip. Where clips have partners, also their
        inputs (``partner_waveform``), ``partner`` (batch,), and ``share`` (batch,): how much of the clip itself stays.

        A batch of clips of several lengths comes in parts of one length each.

        Raises:
            TrainingError: A clip cannot be read, which the message names, or as `ReadAhead.read`.
        """
        with closing(self._ahead.read([(of, draws) for draws in batches])) as ahead:
            for parts in ahead:
                for part in parts:
                    yield {name: self._tensor(values) for name, values in part.items()}

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(values)
        return tensor.pin_memory() if self._pin else tensor


def _read_part(readers: Mapping[str, ClipReader], part: tuple[str, Sequence[Draw]]) -> list[dict[str, NDArray[Any]]]:
    name, draws = part
    return readers[name].batch(draws)


def _stack(items: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    stacked = {name: np.stack([item[name] for item in items]) for name in items[0]}
    return {name: one.astype(np.float32) if one.dtype == np.float64 else one for name, one in stacked.items()}


def require_enough(clips: int, batch_size: int, world: int) -> None:
    """Refuse batches that cannot give each of several processes two clips; see `cut_batches`.

    Raises:
        OptionError: They cannot.
    """
    if world > 1 and min(batch_size, clips) < 2 * world:
        raise OptionError(
            f"batches of {min(batch_size, clips)} clips cannot give {world} processes two clips each",
            where="devices",
            fix="Use fewer --devices, a larger --batch-size, or more clips.",
        )


def count_batches(clips: int, batch_size: int, world: int = 1) -> int:
    """Number of batches of an epoch, as `cut_batches` cuts them."""
    require_enough(clips, batch_size, world)
    count = -(-clips // batch_size)
    last = clips - (count - 1) * batch_size
    return count - 1 if count > 1 and last < 2 * world else count


def cut_batches(
    order: NDArray[np.int64], batch_size: int, epoch: int, *, rank: int = 0, world: int = 1
) -> list[list[Draw]]:
    """Cut an epoch's clips into batches, and give process *rank* of *world* its part of each.

    A last batch too small to give every process two clips joins the one before it: batch norm cannot learn from one.

    Raises:
        OptionError: A batch cannot give each of several processes two clips; one without any would wait for ever.
    """
    starts = [batch_size * number for number in range(count_batches(len(order), batch_size, world))]
    first = epoch * len(order)
    return [
        list(zip(order[start:stop].tolist(), range(first + start, first + stop), strict=True))[rank::world]
        for start, stop in pairwise([*starts, len(order)])
    ]


def whole_pass(count: int, batch_size: int, rank: int = 0, world: int = 1) -> list[list[Draw]]:
    """Every clip once, in order, in batches; each process gets equally many, repeating the last if need be."""
    share = -(-count // world)
    mine = [min(rank * share + place, count - 1) for place in range(share)]
    draws = [(index, index) for index in mine]
    return [draws[start : start + batch_size] for start in range(0, share, batch_size)]
