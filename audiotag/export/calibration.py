"""What a network is given for recordings like those that it will hear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.source import ClipSource
from audiotag.engines.exported import INPUTS
from audiotag.engines.interface import Floats
from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import AudiotagError
from audiotag.inference.inputs import find_clips
from audiotag.inference.scorer import Scorer
from audiotag.inference.sound import Sound
from audiotag.models.model import Model

Recordings = ClipSource | ClipSet | str | Path

_MOST_PASSES = 128
"""More change little; they are taken evenly from all clips."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Recordings as a network takes them.

    Attributes:
        sounds: Where they are from.
        inputs: Of each pass, a batch of one: name of the network's input → what it is given.
    """

    sounds: str
    inputs: list[dict[str, Floats]]

    @classmethod
    def of(cls, model: Model, recordings: Recordings) -> Calibration:
        """What *model* is given for *recordings*; of many, an even choice.

        Args:
            model: The model.
            recordings: Recordings, folders, lists or patterns as `audiotag infer` takes them, or clips; labels do not
                matter.

        Raises:
            AudiotagError: There are none, or one cannot be read.
        """
        clips, sounds = _clips(recordings)
        if not clips:
            raise AudiotagError("there is nothing to calibrate on", where=sounds, fix="Name recordings.")
        chosen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), _MOST_PASSES)).astype(int))
        return cls(sounds, list(islice(_passes(model, [clips[index] for index in chosen]), _MOST_PASSES)))


def _clips(recordings: Recordings) -> tuple[list[Clip], str]:
    if isinstance(recordings, str | Path):
        return find_clips([recordings]), str(recordings)
    source = ClipSource.of(recordings)
    return list(source.read()), str(source)


def _passes(model: Model, clips: list[Clip]) -> Iterator[dict[str, Floats]]:
    engine = TorchEngine(model)
    scorer = Scorer([engine])
    front_end = model.backbone.front_end
    for one in scorer.passes(engine, _sounds(scorer, clips), 1):
        given: dict[str, Floats] = {}
        if one.waveforms is not None:
            assert front_end is not None  # the network takes sound
            with torch.inference_mode():
                given[INPUTS["waveform"]] = front_end(torch.from_numpy(one.waveforms)).numpy()
        if one.video is not None:
            given[INPUTS["video"]] = one.video
        yield given


def _sounds(scorer: Scorer, clips: list[Clip]) -> Iterator[Sound]:
    for clip in clips:
        sound = scorer.reader.read(clip)
        if sound.error is not None:
            raise sound.error
        yield sound
