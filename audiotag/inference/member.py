"""One network of a tagger: its device, precision and the lengths it takes."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.audio.resampling import resample
from audiotag.audio.windows import tile_to, window_starts
from audiotag.errors import OptionError
from audiotag.models.model import Model

LONGEST_PASS_SECONDS = 60.0
"""Longest input in one pass of a network whose spec gives no bound: memory grows with the length."""

_PRECISIONS: dict[str, torch.dtype | None] = {
    "32": None,
    "16": torch.float16,
    "16-mixed": torch.float16,
    "bf16": torch.bfloat16,
    "bf16-mixed": torch.bfloat16,
}


# A forked child has the locks of its parent's threads but not the threads: it would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def choose_device(name: str | torch.device) -> torch.device:
    """The device called *name*; ``"auto"`` is the accelerator where there is one.

    Raises:
        OptionError: There is no such device here.
    """
    if not isinstance(name, str | torch.device):
        raise OptionError(f"the device is {name!r}", fix="Use cpu, cuda, cuda:0, mps or auto.")
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"there is no device {name!r}", fix="Use cpu, cuda, cuda:0, mps or auto.") from error
    absent = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if absent:
        raise OptionError(f"this machine has no device {name!r}", fix="Use cpu or auto.")
    return device


def choose_precision(name: str) -> torch.dtype | None:
    """The type that a mixed-precision pass computes in; None for plain float32.

    Raises:
        OptionError: *name* is no precision.
    """
    if not isinstance(name, str) or name not in _PRECISIONS:
        raise OptionError(f"there is no precision {name!r}", fix=f"Use one of: {', '.join(_PRECISIONS)}.")
    return _PRECISIONS[name]


class Member:
    """A model, ready to score waveforms.

    Args:
        model: The network with its classes. Without *accelerate* this very network is moved and put into
            evaluation mode; otherwise a copy is.
        device: Where to compute.
        precision: As `choose_precision` takes it; front ends compute in float32 always.
        accelerate: Whether to compute with the network's accelerated copy on the CPU.
    """

    def __init__(self, model: Model, device: torch.device, precision: str, accelerate: bool) -> None:
        self.model = model
        self.device = device
        self._dtype = choose_precision(precision)
        self._accelerate = accelerate and device.type == "cpu"
        self._network: Any = None
        rate = model.backbone.sample_rate
        spec = model.spec
        longest = model.max_seconds
        if longest is None:
            longest = max(LONGEST_PASS_SECONDS, model.clip_seconds)
        self.sample_rate = rate
        self.needs_waveform = "waveform" in model.backbone.inputs
        self.needs_video = "video" in model.backbone.inputs
        self.longest_seconds = longest
        self._min_samples = math.ceil(spec.min_seconds * rate)
        self._clip_samples = max(1, round(min(model.clip_seconds, longest) * rate))
        self._max_samples = max(round(longest * rate), self._clip_samples)

    @property
    def clip_seconds(self) -> float:
        """Length of the windows that longer recordings go in."""
        return self._clip_samples / self.sample_rate

    @property
    def network(self) -> Any:
        """The network that computes, made at first use."""
        if self._network is None:
            backbone = self.model.backbone
            self._network = (backbone.accelerated() if self._accelerate else backbone).to(self.device).eval()
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        # Another process makes its own copy for speed.
        return {**self.__dict__, "_network": None}

    def pieces(self, waveform: NDArray[np.float32], sample_rate: int) -> list[NDArray[np.float32]]:
        """Inputs from one waveform (samples,): itself, repeated to the least length; windows where it is too long."""
        waveform = resample(waveform, sample_rate, self.sample_rate)
        if waveform.size <= self._max_samples:
            return [tile_to(waveform, self._min_samples)]
        size = self._clip_samples
        return [waveform[start : start + size] for start in window_starts(waveform.size, size, size)]

    def score(
        self,
        waveforms: Sequence[NDArray[np.float32]] | None,
        pictures: Sequence[NDArray[np.float32]] | None,
        sample_rate: int,
        batch_size: int,
        *,
        embed: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Logits (clips, classes), and embeddings (clips, dim) where *embed*.

        Inputs of one length share a batch and none is padded, so that a clip's numbers do not depend on its company.
        *batch_size* counts clips of the trained length; longer ones go in smaller batches. The logits and the
        embeddings of a clip's windows are averaged.
        """
        if not self.needs_waveform:
            waveforms = None
        count = len(waveforms if waveforms is not None else pictures or ())
        groups: dict[int, list[tuple[int, NDArray[np.float32] | None]]] = defaultdict(list)
        for index in range(count):
            pieces = [None] if waveforms is None else self.pieces(waveforms[index], sample_rate)
            for piece in pieces:
                groups[0 if piece is None else piece.size].append((index, piece))
        logits = np.zeros((count, len(self.model.labels)), dtype=np.float64)
        embeddings: NDArray[np.float64] | None = None
        parts = np.zeros(count)
        for length, group in groups.items():
            size = max(1, batch_size * self._clip_samples // max(length, self._clip_samples))
            for begin in range(0, len(group), size):
                batch = group[begin : begin + size]
                owners = [index for index, _ in batch]
                inputs = self._inputs([piece for _, piece in batch], pictures, owners)
                batch_logits, batch_embeddings = self._forward(inputs, embed)
                np.add.at(logits, owners, batch_logits)
                np.add.at(parts, owners, 1)
                if batch_embeddings is not None:
                    if embeddings is None:
                        embeddings = np.zeros((count, batch_embeddings.shape[1]))
                    np.add.at(embeddings, owners, batch_embeddings)
        parts = parts[:, None]
        return (
            (logits / parts).astype(np.float32),
            None if embeddings is None else (embeddings / parts).astype(np.float32),
        )

    def frames(
        self, waveform: NDArray[np.float32], picture: NDArray[np.float32] | None, sample_rate: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Frame embeddings (frames, dim) of one waveform (samples,), and the seconds of their middles.

        A waveform longer than one pass goes in windows; where the last overlaps the one before, each moment is
        given once.
        """
        own = resample(waveform, sample_rate, self.sample_rate)
        pieces = self.pieces(own, self.sample_rate)
        starts = [0] if len(pieces) == 1 else window_starts(own.size, self._clip_samples, self._clip_samples)
        rate = float(self.network.frame_rate)
        parts: list[NDArray[np.float32]] = []
        times: list[NDArray[np.floating]] = []
        done = 0.0
        for start, piece in zip(starts, pieces, strict=True):
            inputs = self._inputs([piece], None if picture is None else [picture], [0])
            with torch.inference_mode(), self._autocast():
                frames = self.network.frames(self._features(inputs))[0].float().cpu().numpy()
            begin = start / self.sample_rate
            middles = begin + (np.arange(len(frames)) + 0.5) / rate
            end = min(begin + piece.size / self.sample_rate, own.size / self.sample_rate)
            wanted = (middles >= done) & (middles < end)
            if not parts and not wanted.any():
                wanted[0] = True  # a recording shorter than a frame still has one
            parts.append(frames[wanted])
            times.append(middles[wanted])
            done = end
        return np.concatenate(parts), np.concatenate(times).astype(np.float64)

    def feature_map(
        self, waveform: NDArray[np.float32], picture: NDArray[np.float32] | None, sample_rate: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The family's feature map of one waveform (samples,), and the seconds of the middles of its frames.

        Raises:
            OptionError: The waveform is too long for one pass.
        """
        pieces = self.pieces(waveform, sample_rate)
        if len(pieces) > 1:
            raise OptionError(
                f"{waveform.size / sample_rate:.2f} s are more than the network takes in one pass "
                f"({self.longest_seconds:g} s), and maps of several are not joined",
                where=self.model.name,
                fix="Give shorter pieces, or take kind='frame'.",
            )
        inputs = self._inputs(pieces, None if picture is None else [picture], [0])
        with torch.inference_mode(), self._autocast():
            features = self._features(inputs)
            count = self.network.frames(features).shape[1]
        return features[0].float().cpu().numpy(), (np.arange(count) + 0.5) / float(self.network.frame_rate)

    def _inputs(
        self,
        pieces: Sequence[NDArray[np.float32] | None],
        pictures: Sequence[NDArray[np.float32]] | None,
        owners: Sequence[int],
    ) -> dict[str, Tensor]:
        """What the backbone's `inputs` name, on the device."""
        arrays: dict[str, NDArray[np.float32]] = {}
        if self.needs_waveform:
            arrays["waveform"] = np.stack([piece for piece in pieces if piece is not None])
        if self.needs_video:
            if pictures is None:
                raise OptionError(
                    "this model needs a picture with each sound", where=self.model.name, fix="Give video= as well."
                )
            arrays["video"] = np.stack([pictures[index] for index in owners])
        try:
            return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        except RuntimeError as error:  # a GPU cannot be used after a fork, and its memory may be full
            raise OptionError(
                f"sound cannot be brought to {self.device}: {str(error).splitlines()[0]}",
                where=self.model.name,
                fix="Start processes with spawn, not fork; or use smaller batches, or the cpu.",
            ) from error

    def _features(self, inputs: dict[str, Tensor]) -> Tensor:
        network = self.network
        waveform = inputs.get("waveform")
        if waveform is None or network.front_end is None:
            features: Tensor = network.forward_features(**inputs)
            return features
        # Powers of a spectrum span more than half precision holds.
        with torch.autocast(self.device.type, enabled=False):
            spectrogram = network.front_end(waveform)
        features = network.forward_spectrogram(spectrogram, inputs.get("video"))
        return features

    def _forward(
        self, inputs: dict[str, Tensor], embed: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        with torch.inference_mode(), self._autocast():
            features = self._features(inputs)
            logits = self.network.forward_head(self.network.head_input(features))
            embedding = self.network.pool(features) if embed else None
        return logits.float().cpu().numpy(), None if embedding is None else embedding.float().cpu().numpy()

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)
