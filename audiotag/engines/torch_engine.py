"""The engine that computes with torch: a model on a device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.engines.interface import Engine, EngineFacts, EngineOutput, Floats
from audiotag.errors import OptionError
from audiotag.models.fingerprints import code_fingerprint, embedding_fingerprint, model_fingerprint
from audiotag.models.model import Model

_CPU_BATCH = 4
"""Larger batches leave the caches of a CPU and are slower: four ten-second clips took less time each than eight."""
_ACCELERATOR_BATCH = 32

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


class TorchEngine(Engine):
    """A model on a device.

    Args:
        model: The network with its classes. Without *accelerate* this very network is moved and put into
            evaluation mode; otherwise a copy is.
        device: As `choose_device` takes it.
        precision: As `choose_precision` takes it; front ends compute in float32 always.
        accelerate: Whether to compute with the network's accelerated copy on the CPU.

    Raises:
        OptionError: A setting cannot be.

    Attributes:
        model: The model.
        device: Where it computes.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str | torch.device = "auto",
        precision: str = "32",
        accelerate: bool = True,
    ) -> None:
        self.model = model
        self.device = choose_device(device)
        self._dtype = choose_precision(precision)
        on_cpu = self.device.type == "cpu"
        self._accelerate = accelerate and on_cpu
        self._network: Any = None
        backbone = model.backbone
        self.facts = EngineFacts(
            name=model.name,
            labels=model.labels,
            lengths=model.lengths,
            embedding_dim=backbone.embedding_dim,
            single_label=model.single_label,
            thresholds=model.thresholds,
            metadata=model.metadata,
            inputs=backbone.inputs,
            video_shape=backbone.video_shape,
            frame_seconds=1 / backbone.frame_rate if backbone.gives_frame_logits else None,
            device=str(self.device),
            precision=precision,
            batch_size=_CPU_BATCH if on_cpu else _ACCELERATOR_BATCH,
            # One that is derived from it may compute something else.
            front_end=backbone.front_end.description if type(backbone.front_end) is LogMelFrontEnd else None,
        )

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

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        """See `Engine.forward`."""
        with self._pass():
            return self._output(self._features(waveforms, video), embed)

    def spectrograms(self, waveforms: Floats) -> Floats:
        """See `Engine.spectrograms`."""
        with self._pass():
            return _array(self._spectrogram(waveforms))

    def forward_spectrograms(
        self, spectrograms: Floats, video: Floats | None = None, *, embed: bool = False
    ) -> EngineOutput:
        """See `Engine.forward_spectrograms`."""
        with self._pass() as network:
            features = network.forward_spectrogram(self._moved(spectrograms), self._moved(video))
            return self._output(features, embed)

    def _output(self, features: Tensor, embed: bool) -> EngineOutput:
        network = self.network
        logits = network.forward_head(network.head_input(features))
        return EngineOutput(_array(logits), _array(network.pool(features)) if embed else None)

    def frames(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[np.float64]]:
        """See `Engine.frames`."""
        with self._pass() as network:
            frames = network.frames(self._features(waveforms, video))
            return _array(frames), self._middles(frames)

    def frame_logits(self, waveforms: Floats) -> Floats:
        """See `Engine.frame_logits`."""
        with self._pass() as network:
            return _array(network.frame_logits(self._features(waveforms, None)))

    def feature_map(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[np.float64]]:
        """See `Engine.feature_map`."""
        with self._pass() as network:
            features = self._features(waveforms, video)
            return _array(features), self._middles(network.frames(features))

    def head_input(
        self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False
    ) -> tuple[Floats, Floats | None]:
        """See `Engine.head_input`; what the model's head takes."""
        with self._pass() as network:
            features = self._features(waveforms, video)
            return _array(network.head_input(features)), _array(network.pool(features)) if embed else None

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        return model_fingerprint(self.model)

    def embedding_fingerprint(self) -> str:
        """See `Engine.embedding_fingerprint`."""
        return embedding_fingerprint(self.model)

    def code_fingerprint(self) -> str:
        """See `Engine.code_fingerprint`."""
        return code_fingerprint(self.model)

    def _middles(self, frames: Tensor) -> NDArray[np.float64]:
        middles = np.arange(frames.shape[1], dtype=np.float64) + 0.5
        return middles / float(self.network.frame_rate)

    def _features(self, waveforms: Floats | None, video: Floats | None) -> Tensor:
        network = self.network
        if waveforms is None or network.front_end is None:
            given = {"waveform": self._moved(waveforms), "video": self._moved(video)}
            features: Tensor = network.forward_features(**{name: given[name] for name in network.inputs})
            return features
        features = network.forward_spectrogram(self._spectrogram(waveforms), self._moved(video))
        return features

    def _spectrogram(self, waveforms: Floats) -> Tensor:
        # Powers of a spectrum span more than half precision holds.
        with torch.autocast(self.device.type, enabled=False):
            spectrogram: Tensor = self.network.front_end(self._moved(waveforms))
            return spectrogram

    def _moved(self, array: Floats | None) -> Tensor | None:
        if array is None:
            return None
        try:
            return torch.from_numpy(array).to(self.device)
        except RuntimeError as error:  # a GPU cannot be used after a fork, and its memory may be full
            raise OptionError(
                f"sound cannot be brought to {self.device}: {str(error).splitlines()[0]}",
                where=self.model.name,
                fix="Start processes with spawn, not fork; or use smaller batches, or the cpu.",
            ) from error

    @contextmanager
    def _pass(self) -> Iterator[Any]:
        """A pass of the network, which is given."""
        with self.model.computing(), torch.inference_mode(), self._autocast():
            yield self.network

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)


def _array(values: Tensor) -> Floats:
    array: Floats = values.float().cpu().numpy()
    return array
