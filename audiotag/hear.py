"""Any model of the registry behind the interfaces of HEAR and of X-ARES, which measure embeddings.

HEAR (Turian et al., NeurIPS 2021, arXiv 2203.03022) is given this module by its name: `load_model`,
`get_scene_embeddings` and `get_timestamp_embeddings` are all that it calls. X-ARES (Zhang et al., Interspeech 2025,
arXiv 2505.16369) is given a class: one derived from `XaresEncoder`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import AudioError, OptionError
from audiotag.inference.loading import load
from audiotag.inference.tagger import Tagger

SAMPLE_RATES = (16_000, 22_050, 32_000, 44_100, 48_000)
"""Hz at which HEAR's tasks are published."""

DEFAULT_MODEL = "mn10_as"


class HearModel(nn.Module):
    """A model whose embeddings are wanted; `to` moves it, but for an exported folder, which computes on the CPU.

    Args:
        model: A registered model, or the folder of a run, a checkpoint or an export.

    Raises:
        OptionError: The model is an ensemble, or needs pictures.
        AudiotagError: It cannot be had.

    Attributes:
        sample_rate: Hz of what it is given: the network's own, or the next of `SAMPLE_RATES` where HEAR has none such.
        scene_embedding_size: Size of the embedding of a clip.
        timestamp_embedding_size: Size of the embedding of a moment.
        hop_seconds: From moment to moment.
    """

    place: Tensor

    def __init__(self, model: str | Path) -> None:
        super().__init__()
        self._tagger = load(model, device="cpu")
        if len(self._tagger.engines) > 1:
            raise OptionError("an ensemble has no embedding of its own", where=str(model), fix="Name one model.")
        (facts,), (engine,) = self._tagger.facts, self._tagger.engines
        if facts.inputs != ("waveform",):
            raise OptionError("the model needs pictures, and there are none", where=facts.name, fix="Take another.")
        # A part of this module, so that it moves with it.
        self.network = engine.model.backbone if isinstance(engine, TorchEngine) else None
        self.register_buffer("place", torch.empty(0), persistent=False)
        rate = facts.lengths.sample_rate
        self.sample_rate = next((one for one in SAMPLE_RATES if one >= rate), SAMPLE_RATES[-1])
        clip = np.zeros(round(facts.lengths.clip * self.sample_rate), dtype=np.float32)
        frames, times = self._tagger.embed(clip, self.sample_rate, kind="frame")
        self.scene_embedding_size = facts.embedding_dim
        self.timestamp_embedding_size = int(frames.shape[2])
        self.hop_seconds = float(times[1] - times[0]) if len(times) > 1 else facts.lengths.clip

    def scenes(self, audio: Tensor) -> Tensor:
        """Embeddings (batch, `scene_embedding_size`) of clips.

        Args:
            audio: float (batch, samples) at `sample_rate`, of any length.

        Raises:
            AudioError: It is something else.
        """
        return torch.from_numpy(self._embed(audio, "clip")).to(audio.device)

    def moments(self, audio: Tensor) -> tuple[Tensor, NDArray[np.float64]]:
        """Embeddings (batch, moments, `timestamp_embedding_size`), and the seconds (moments,) that they are of.

        Moments are the middles of consecutive pieces of `hop_seconds`, throughout the sound. Where the network has
        frames at other times (long sound goes in windows, which are no whole number of frames), the nearest counts.

        Args:
            audio: As for `scenes`.

        Raises:
            AudioError: As for `scenes`.
        """
        frames, times = self._embed(audio, "frame")
        seconds = audio.shape[1] / self.sample_rate
        moments = (np.arange(max(1, math.ceil(seconds / self.hop_seconds - 0.5))) + 0.5) * self.hop_seconds
        nearest = np.searchsorted((times[1:] + times[:-1]) / 2, moments)
        return torch.from_numpy(frames[:, nearest]).to(audio.device), np.minimum(moments, seconds)

    def _embed(self, audio: Tensor, kind: Literal["clip", "frame"]) -> Any:
        if audio.ndim != 2:
            raise AudioError(f"the sound has {audio.ndim} axes", fix="Give (batch, samples).")
        return self._on_its_device().embed(audio.detach().float().cpu().numpy(), self.sample_rate, kind=kind)

    def _on_its_device(self) -> Tagger:
        (engine,) = self._tagger.engines
        if isinstance(engine, TorchEngine) and engine.device != self.place.device:
            self._tagger = Tagger(engine.model, device=self.place.device)
        return self._tagger


def load_model(model_file_path: str = DEFAULT_MODEL) -> HearModel:
    """HEAR's ``load_model``.

    Args:
        model_file_path: A registered model's name, or the folder of a run, a checkpoint or an export.

    Raises:
        AudiotagError: As for `HearModel`.
    """
    return HearModel(model_file_path or DEFAULT_MODEL)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """HEAR's ``get_scene_embeddings``: float32 (sounds, size) on the device of *audio*, float (sounds, samples)."""
    return model.scenes(audio)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """HEAR's ``get_timestamp_embeddings``.

    Args:
        audio: float (sounds, samples) at the model's ``sample_rate``.
        model: From `load_model`.

    Returns:
        float32 (sounds, moments, size), and the milliseconds (sounds, moments) of their middles, at regular distances.
    """
    embeddings, seconds = model.moments(audio)
    milliseconds = torch.from_numpy((1000 * seconds).astype(np.float32)).to(audio.device)
    return embeddings, milliseconds.expand(len(audio), -1)


class XaresEncoder(nn.Module):
    """An encoder as X-ARES takes them, which makes one without arguments: derive a class that names its model.

    Args:
        model: As for `HearModel`.

    Attributes:
        sampling_rate: Hz of what it is given.
        output_dim: Size of an embedding.
        hop_size_in_ms: Milliseconds from embedding to embedding.
    """

    def __init__(self, model: str | Path = DEFAULT_MODEL) -> None:
        super().__init__()
        self.model = HearModel(model)
        self.sampling_rate = self.model.sample_rate
        self.output_dim = self.model.timestamp_embedding_size
        self.hop_size_in_ms = round(1000 * self.model.hop_seconds, 6)

    def forward(self, audio: Tensor) -> Tensor:
        """Embeddings (batch, moments, `output_dim`) of float (batch, samples), or of (samples,) as a batch of one."""
        return self.model.moments(audio if audio.ndim == 2 else audio.unsqueeze(0))[0]
