"""The contract between the toolkit and a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.models.acceleration import accelerated_copy


@dataclass(frozen=True)
class ClassRows:
    """Where a tensor of a head holds one entry per class.

    Viewed as *shape* (−1 stands for the class axis), *axis* runs over the classes. A linear layer's weight
    (classes, dim) is ``ClassRows((-1, dim), 0)``; a layer of attention and score maps for four heads stored as
    (2·4·classes, dim) with classes innermost is ``ClassRows((2, 4, -1, dim), 2)``.
    """

    shape: tuple[int, ...]
    axis: int

    def __post_init__(self) -> None:
        if self.shape.count(-1) != 1 or self.shape[self.axis] != -1:
            raise ValueError(f"shape {self.shape} must hold -1 at axis {self.axis} and nowhere else")


class Backbone(nn.Module, ABC):
    """A network that tags sound.

    A forward pass has four steps, each usable alone:

    1. `front_end`: waveform → spectrogram (batch, bands, frames). Augmentation and mixing of spectrograms happen
       between this step and the next, in the trainer.
    2. `forward_spectrogram`: spectrogram (and pictures) → the family's feature map.
    3. `head_input`: feature map → what the head takes. A frozen backbone is run once and this is kept on disk.
    4. `forward_head`: → logits (batch, classes).

    `pool` and `frames` give clip and frame embeddings from the feature map. A backbone never prints, seeds or moves
    itself, and keeps the batch axis for a batch of one.

    Attributes:
        inputs: What `forward` takes, in order: ``("waveform",)``, ``("waveform", "video")`` or ``("video",)``.
        sample_rate: Hz of the waveform.
        embedding_dim: Size of the clip embedding.
        num_classes: Size of the head.
        front_end: Waveform → spectrogram; None for a network that takes none (pictures only).
        ignored_keys: Prefixes of entries that published files carry and that are not needed (constants of the
            authors' own front end, say).
        video_shape: (channels, height, width) of a picture, None where the network takes none.
        max_seconds: Longest sound taken in one pass where an option decides it, None for what the spec says.
    """

    inputs: tuple[str, ...] = ("waveform",)
    sample_rate: int
    embedding_dim: int
    num_classes: int
    front_end: FrontEnd | None
    ignored_keys: tuple[str, ...] = ()
    video_shape: tuple[int, int, int] | None = None
    max_seconds: float | None = None

    @property
    @abstractmethod
    def frame_rate(self) -> float:
        """Frames per second of `frames`."""

    @abstractmethod
    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """The family's feature map of a batch; batch axis first.

        Args:
            spectrogram: (batch, bands, frames) as `front_end` gives it; None where `inputs` lacks ``"waveform"``.
            video: float32 (batch, channels, height, width), normalised; None where `inputs` lacks ``"video"``.
        """

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`) of a feature map."""

    @abstractmethod
    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, dim) of a feature map, `frame_rate` to the second."""

    def head_input(self, features: Tensor) -> Tensor:
        """What `forward_head` takes; the clip embedding unless the head needs more (attention over frames)."""
        return self.pool(features)

    @abstractmethod
    def forward_head(self, head_input: Tensor) -> Tensor:
        """Logits (batch, classes) from `head_input`'s result, kept on disk or not, or from clip embeddings.

        A head that needs more than a clip embedding (frames, a map) takes one as a single frame.
        """

    @abstractmethod
    def reset_head(self, num_classes: int) -> None:
        """Replace the head by a fresh one of the same kind for *num_classes* classes, on the same device."""

    @abstractmethod
    def head_modules(self) -> Mapping[str, nn.Module]:
        """The modules that make up the head, name (as in the state dict) → module."""

    @abstractmethod
    def class_rows(self) -> Mapping[str, ClassRows]:
        """For each entry of the state dict that holds one row per class, where the rows are."""

    def forward_features(self, waveform: Tensor | None = None, video: Tensor | None = None) -> Tensor:
        """The feature map of raw inputs: `front_end` (where there is one), then `forward_spectrogram`."""
        spectrogram = None
        if waveform is not None and self.front_end is not None:
            spectrogram = self.front_end(waveform)
        return self.forward_spectrogram(spectrogram, video)

    def forward(self, waveform: Tensor | None = None, video: Tensor | None = None) -> Tensor:
        """Logits (batch, classes) of a waveform (batch, samples) in [−1, 1], with pictures where `inputs` has them."""
        logits: Tensor = self.forward_head(self.head_input(self.forward_features(waveform, video)))
        return logits

    def embed(self, waveform: Tensor | None = None, video: Tensor | None = None) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`)."""
        return self.pool(self.forward_features(waveform, video))

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of the head."""
        for module in self.head_modules().values():
            yield from module.parameters()

    def head_keys(self) -> tuple[str, ...]:
        """Entries of the state dict that belong to the head."""
        prefixes = tuple(f"{name}." for name in self.head_modules())
        return tuple(key for key in self.state_dict() if key.startswith(prefixes))

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename or reshape the entries of a published file, wrappers and common prefixes already taken off."""
        return state

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """Entries of the state dict that a published file of this kind never holds, so that they start anew.

        None for a file of the whole network. A pre-training checkpoint has no head, say; whatever else is missing
        remains an error.

        Args:
            state: The published entries, as `convert_published` returns them.
        """
        return ()

    def accelerated(self) -> Self:
        """A copy for tagging, in eval mode: same inputs and methods, same numbers up to rounding, faster.

        The default folds batch norms into the convolutions before them (but for the head's) and takes the
        channels-last layout.
        """
        return accelerated_copy(self, keep=self.head_modules().values())

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Told before each epoch of training (0 ≤ *epoch* < *epochs*); families with a schedule of their own use it."""

    def extra_state(self) -> dict[str, Any]:
        """Plain values that belong to a checkpoint and are not tensors (a temperature, say)."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `extra_state` gave."""
