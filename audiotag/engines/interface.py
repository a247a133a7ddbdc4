"""The interface between what hears recordings (the tagger, the on-line learner) and what computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.frontends.log_mel import LogMel
from audiotag.audio.windows import PassLengths
from audiotag.display import brief_repr, line
from audiotag.errors import OptionError
from audiotag.labels import LabelSet

Floats = NDArray[np.float32]


def stacked(rows: Sequence[Floats]) -> Floats:
    """`np.stack`, without copying an only row."""
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


@brief_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class EngineFacts:
    """What an engine takes and gives.

    Attributes:
        name: What messages and outputs call it.
        labels: The classes of its logits, in order.
        lengths: The rate of its waveforms, and how much sound it takes in one pass.
        embedding_dim: Size of its clip embeddings.
        single_label: Whether scores are a softmax over classes, or a sigmoid of each.
        thresholds: Score from which a class counts as detected, float (classes,); None where none were tuned.
        metadata: What the model says about itself beyond that.
        inputs: What it takes: ``("waveform",)``, ``("waveform", "video")`` or ``("video",)``.
        video_shape: (channels, height, width) of a picture, None where it takes none.
        frame_seconds: Seconds from frame to frame where it scores them (`Engine.frame_logits`), None where it scores
            whole clips only.
        device: Where it computes.
        precision: Numbers it computes with.
        batch_size: Clips at a time that suit it.
        front_end: What its spectrograms are, where `Engine.spectrograms` gives them; None otherwise.
    """

    name: str
    labels: LabelSet
    lengths: PassLengths
    embedding_dim: int
    single_label: bool = False
    thresholds: NDArray[np.float64] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("waveform",)
    video_shape: tuple[int, int, int] | None = None
    frame_seconds: float | None = None
    device: str = "cpu"
    precision: str = "32"
    batch_size: int = 4
    front_end: LogMel | None = None


@brief_repr
@dataclass(frozen=True, eq=False)
class EngineOutput:
    """What one pass gives.

    Attributes:
        logits: float32 (batch, classes).
        embeddings: float32 (batch, dim), where they were asked for.
    """

    logits: Floats
    embeddings: Floats | None = None


class Engine(ABC):
    """Computes passes: arrays in, arrays out.

    All inputs of a pass have one length, within `EngineFacts.lengths`, at the engine's own sample rate; pictures come
    with them where its inputs say so. An engine is used by one thread at a time and can be pickled.

    Attributes:
        facts: What it takes and gives.
    """

    facts: EngineFacts

    def __repr__(self) -> str:
        return line(self, self.facts.name, self.facts.labels, self.facts.device)

    @abstractmethod
    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        """Logits, and clip embeddings where *embed*.

        Args:
            waveforms: float32 (batch, samples) in [−1, 1]; None where the engine takes no sound.
            video: float32 (batch, channels, height, width), normalised; None where it takes no pictures.
            embed: Whether embeddings are wanted.
        """

    def spectrograms(self, waveforms: Floats) -> Floats:
        """The first half of `forward`, as `EngineFacts.front_end` describes it: float32 (batch, bands, frames)."""
        raise self._lacking("spectrograms")

    def forward_spectrograms(
        self, spectrograms: Floats, video: Floats | None = None, *, embed: bool = False
    ) -> EngineOutput:
        """The second half of `forward`, from what `spectrograms` gives."""
        raise self._lacking("forward_spectrograms")

    def _lacking(self, method: str) -> OptionError:
        fix = "Leave front_end out of the facts, or define both halves of the pass."
        return OptionError(
            f"its facts have a front_end, and it does not define {method}", where=self.facts.name, fix=fix
        )

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the numbers that decide its logits (parameters, options)."""

    def embedding_fingerprint(self) -> str:
        """A hash of what gives the clip embeddings, whatever head follows.

        Raises:
            OptionError: The engine does not say.
        """
        raise OptionError("it does not say what gives its embeddings", where=self.facts.name, fix="Learn elsewhere.")

    @abstractmethod
    def code_fingerprint(self) -> str:
        """A hash of the code that computes with them; another one may give other numbers."""

    def frames(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[np.float64]]:
        """Frame embeddings (batch, frames, dim), and the seconds (frames,) of the middles of the frames.

        Raises:
            OptionError: The engine has none.
        """
        raise OptionError("it gives no embeddings of frames", where=self.facts.name, fix="Take kind='clip'.")

    def frame_logits(self, waveforms: Floats) -> Floats:
        """Logits (batch, frames, classes) of frames, `EngineFacts.frame_seconds` each.

        Raises:
            OptionError: The engine scores whole clips only.
        """
        raise OptionError(
            "the model scores whole clips, and no frames", where=self.facts.name, fix="Score short windows instead."
        )

    def head_input(
        self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False
    ) -> tuple[Floats, Floats | None]:
        """What the part that learns on a device takes, float32 (batch, …), and where asked for the clip embeddings.

        Raises:
            OptionError: The engine does not say.
        """
        raise OptionError("it does not give what its head takes", where=self.facts.name, fix="Learn with torch.")

    def feature_map(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[np.float64]]:
        """The network's last feature map (batch, …) in its own order of axes, and the seconds of its frames.

        Raises:
            OptionError: The engine has none.
        """
        raise OptionError("it gives no feature maps", where=self.facts.name, fix="Take kind='clip' or kind='frame'.")
