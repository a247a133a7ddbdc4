"""The contract between the toolkit and a network."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.audio.windows import WindowMean
from audiotag.errors import OptionError
from audiotag.labels import LabelSet
from audiotag.models.acceleration import accelerated_copy
from audiotag.models.parameter_groups import ParameterGroup, group_parameters
from audiotag.seeding import scoped_torch_rng


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

    `pool` and `frames` give clip and frame embeddings from the feature map. The head is the module of the name
    `head_name`, and `make_head` makes one like it; what the toolkit does with heads (new classes, class by class, a
    head that learns alone) follows from these two. A backbone never prints, seeds or moves itself, and keeps the batch
    axis for a batch of one.

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
        window_mean: What is averaged over the windows of sound that is too long for one pass: ``"logits"``, or
            ``"probabilities"`` where the network itself does so within a pass. (Those with a softmax average logits.)
        head_name: Name of the head's module, dotted where it lies deeper (``"classifier.5"``).
        gives_frame_logits: Whether `frame_logits` is meaningful: the head scores frames and joins them afterwards, or
            scores their mean by a linear layer.
        intermediate_names: Names of modules whose outputs `intermediates` gives, from the input on.
        adapter_layers: Names of the linear layers that low-rank adapters are for (``finetune --adapter``), none of the
            head's; empty for a network without. Each must be called as a module.
    """

    inputs: tuple[str, ...] = ("waveform",)
    sample_rate: int
    embedding_dim: int
    num_classes: int
    front_end: FrontEnd | None
    ignored_keys: tuple[str, ...] = ()
    video_shape: tuple[int, int, int] | None = None
    max_seconds: float | None = None
    window_mean: WindowMean = "logits"
    head_name: str = "classifier"
    gives_frame_logits: bool = False
    intermediate_names: tuple[str, ...] = ()
    adapter_layers: tuple[str, ...] = ()

    @property
    def augmentations(self) -> tuple[str, ...]:
        """What training may vary: ``"waveform"``, ``"spectrogram"``, both or nothing.

        By default whatever there is. A network that cannot bear one (a front end that must see the level as it is)
        leaves it out: training then goes without, and refuses settings that ask for it.
        """
        if "waveform" not in self.inputs:
            return ()
        return ("waveform",) if self.front_end is None else ("waveform", "spectrogram")

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

    def forward_head(self, head_input: Tensor) -> Tensor:
        """Logits (batch, classes) from `head_input`'s result, kept on disk or not, or from clip embeddings.

        A head that needs more than a clip embedding (frames, a map) takes one as a single frame.
        """
        logits: Tensor = self.head_module()(head_input)
        return logits

    def frame_logits(self, features: Tensor) -> Tensor:
        """Logits (batch, frames, classes) of each frame of `frames`, as the head scores a map of that frame alone.

        A head that is given frames in their context (after a sequence model) scores each as it stands there.

        Raises:
            OptionError: The head scores whole clips only (`gives_frame_logits`).
        """
        if not self.gives_frame_logits:
            raise OptionError(
                "the head scores whole clips, and no frames",
                where=type(self).__name__,
                fix="Tag short windows, or take a network whose gives_frame_logits is true.",
            )
        frames = self.frames(features)
        logits = self.forward_head(frames.flatten(0, 1))
        return logits.reshape(-1, frames.shape[1], logits.shape[1])

    @abstractmethod
    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Module:
        """A fresh module for the place `head_name`, on the CPU; parameters are drawn from torch's global generator.

        Args:
            num_classes: Number of classes.
            labels: The classes, for a head that begins from their names; None where they are not known.
        """

    def reset_head(self, num_classes: int, labels: LabelSet | None = None) -> None:
        """Replace the head by a fresh one of the same kind, in the place of the old one: device, precision, mode."""
        old = self.head_module()
        like = next(old.parameters())
        fresh = self.make_head(num_classes, labels).to(like.device, like.dtype).train(old.training)
        self.set_submodule(self.head_name, fresh)
        self.num_classes = num_classes

    def class_rows(self) -> Mapping[str, ClassRows]:
        """For each entry of the state dict that holds one row per class, where the rows are.

        By default found out from `make_head`: an axis that grows by one with one more class holds the classes.

        Raises:
            OptionError: An entry grows otherwise (two rows a class, say): the family must state `class_rows` itself.
        """
        # Not on the device "meta", whose initialisation imports torch's compiler: a second at each start.
        with scoped_torch_rng("one more class"):
            wider = self.make_head(self.num_classes + 1).state_dict()
        rows = {}
        for key, entry in self.head_module().state_dict().items():
            growth = [more - size for more, size in zip(wider[key].shape, entry.shape, strict=True)]
            if not any(growth):
                continue
            if sorted(growth)[-2:] not in ([1], [0, 1]):
                raise OptionError(
                    f"{self.head_name}.{key} is {tuple(entry.shape)} for {self.num_classes} classes and "
                    f"{tuple(wider[key].shape)} for one more, which does not show which row belongs to which class",
                    where=type(self).__name__,
                    fix="State class_rows.",
                )
            axis = growth.index(1)
            shape = (*entry.shape[:axis], -1, *entry.shape[axis + 1 :])
            rows[f"{self.head_name}.{key}"] = ClassRows(shape, axis)
        return rows

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

    def intermediates(self, waveform: Tensor | None = None, video: Tensor | None = None) -> dict[str, Tensor]:
        """Feature maps on the way (batch first), by name: those of `intermediate_names`, then ``"features"``.

        For probes, distillation and looking inside; gradients go through them.
        """
        kept: dict[str, list[Tensor]] = {name: [] for name in self.intermediate_names}
        with ExitStack() as hooks:
            for name, outputs in kept.items():
                keep = partial(_append, outputs)
                hooks.enter_context(self.get_submodule(name).register_forward_hook(keep))
            features = self.forward_features(waveform, video)
        # A fast copy may take one clip after the other.
        maps = {name: outputs[0] if len(outputs) == 1 else torch.cat(outputs) for name, outputs in kept.items()}
        return {**maps, "features": features}

    def head_module(self) -> nn.Module:
        """The module at `head_name`."""
        return self.get_submodule(self.head_name)

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of the head."""
        return self.head_module().parameters()

    def head_keys(self) -> tuple[str, ...]:
        """Entries of the state dict that belong to the head."""
        return tuple(key for key in self.state_dict() if key.startswith(f"{self.head_name}."))

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Every parameter in exactly one group of those that learn alike.

        By default head and body, each with weight decay (matrices and kernels) and without (biases and scales). A
        family with rules of its own (rates that fall from layer to layer, more that is not decayed) returns
        `group_parameters` with these.
        """
        return group_parameters(self, self.head_parameters())

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
        return accelerated_copy(self, keep=[self.head_module()])

    def exportable(self) -> Self:
        """A copy to be written as ONNX (`audiotag export`), in eval mode: the same methods and numbers up to rounding.

        The default is a plain copy. A family whose operations ONNX lacks, or has for a batch of one only, gives one
        that computes the same with others. What cannot be exported says why in its descriptor
        (`BackboneSpec.not_exported`).
        """
        return copy.deepcopy(self).eval().requires_grad_(False)

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Told before each epoch of training (0 ≤ *epoch* < *epochs*); families with a schedule of their own use it."""

    def extra_state(self) -> dict[str, Any]:
        """Plain values that belong to a checkpoint and are not tensors (a temperature, say)."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `extra_state` gave, before the weights: it may decide their shapes."""


def _append(outputs: list[Tensor], module: nn.Module, inputs: Any, output: Tensor) -> None:
    outputs.append(output)
