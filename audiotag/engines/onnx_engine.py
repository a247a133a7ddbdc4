"""The engine that computes exported networks with ONNX Runtime, and their front ends with NumPy: nothing of torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.frontends import numpy_executor
from audiotag.audio.frontends.numpy_executor import log_mel_features
from audiotag.engines.exported import (
    EMBEDDING,
    FRAME_LOGITS,
    FRAMES,
    HEAD_BIAS,
    HEAD_INPUT,
    HEAD_WEIGHT,
    INPUTS,
    LOGITS,
    PICTURE,
    SPECTROGRAM,
    Exported,
    Head,
    read_exported,
)
from audiotag.engines.interface import Engine, EngineFacts, EngineOutput, Floats, stacked
from audiotag.engines.runtime import open_session
from audiotag.engines.threads import usable_threads
from audiotag.errors import AudiotagError, CheckpointError, OptionError

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")

_WAVEFORM = "waveform"
_BATCHES = 2
"""Clips for each thread in a batch: while one waits for the last of them, the others have more to do."""


class OnnxEngine(Engine):
    """An exported network on the CPU.

    Each thread takes clips of a batch from waveform to answer, one at a time: more at once are no faster, and take more
    memory. That leaves threads less to wait for than sharing each operation, which is what happens with a single clip.

    Args:
        source: Its folder, or what `read_exported` says of it.
        threads: Threads that compute; None for `usable_threads`.

    Raises:
        CheckpointError: The folder is damaged, or ONNX Runtime cannot compute the network.
        OptionError: The number of threads cannot be.

    Attributes:
        exported: What the folder says.
        threads: Threads that compute.
    """

    def __init__(self, source: str | Path | Exported, *, threads: int | None = None) -> None:
        self.exported = exported = source if isinstance(source, Exported) else read_exported(source)
        self.threads = usable_threads(threads)
        self._session: Any = None
        self._process = 0
        self.facts = EngineFacts(
            name=exported.name,
            labels=exported.labels,
            lengths=exported.lengths,
            embedding_dim=exported.embedding_dim,
            single_label=exported.single_label,
            thresholds=exported.thresholds,
            metadata=exported.metadata,
            inputs=exported.inputs,
            video_shape=exported.video_shape,
            frame_seconds=1 / exported.frame_rate if FRAME_LOGITS in exported.outputs else None,
            batch_size=1 if self.threads == 1 else _BATCHES * self.threads,
            front_end=exported.front_end if "waveform" in exported.inputs else None,
        )

    @property
    def session(self) -> Any:
        """ONNX Runtime's session, made at first use, and anew in a forked process, which has none of its threads."""
        if self._session is None or self._process != os.getpid():
            self._session = self._open()
            self._process = os.getpid()
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    def _open(self) -> Any:
        path = self.exported.network
        try:
            session = open_session(str(path), self.threads)
        except Exception as error:  # its errors have no class in common
            raise CheckpointError(
                f"ONNX Runtime cannot open the network ({str(error).partition(chr(10))[0]})",
                where=path,
                fix="Upgrade onnxruntime, or export the model again.",
            ) from error
        inputs = [one.name for one in session.get_inputs()]
        outputs = {one.name for one in session.get_outputs()}
        if inputs != [INPUTS[name] for name in self.facts.inputs] or not outputs >= {*self.exported.outputs}:
            raise CheckpointError(
                f"the network takes {inputs} and gives {sorted(outputs)}, which is not what the folder says",
                where=path,
                fix="Export the model again.",
            )
        return session

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        """See `Engine.forward`."""
        return self._output({_WAVEFORM: waveforms, PICTURE: video}, embed)

    def spectrograms(self, waveforms: Floats) -> Floats:
        """See `Engine.spectrograms`."""
        return np.concatenate(self._by_threads(self._spectrograms, list(waveforms[:, None])))

    def forward_spectrograms(
        self, spectrograms: Floats, video: Floats | None = None, *, embed: bool = False
    ) -> EngineOutput:
        """See `Engine.forward_spectrograms`."""
        return self._output({SPECTROGRAM: spectrograms, PICTURE: video}, embed)

    def head_input(
        self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False
    ) -> tuple[Floats, Floats | None]:
        """See `Engine.head_input`; what the last layer takes, float32 (batch, dim)."""
        head = self.exported.head
        if head is not None and head.over_embedding:
            (embedding,) = self._run([EMBEDDING], {_WAVEFORM: waveforms, PICTURE: video})
            return _of_unit_length(embedding), embedding if embed else None
        if not self.exported.learns:
            return super().head_input(waveforms, video, embed=embed)
        found, *more = self._run([HEAD_INPUT, *_embedding(embed)], {_WAVEFORM: waveforms, PICTURE: video})
        return found, more[0] if embed else None

    def head(self) -> Head:
        """The last layer.

        Raises:
            OptionError: The network's is not linear, or the folder does not have it.
        """
        if self.exported.head is not None:
            return self.exported.head
        if not self.exported.learns:
            raise OptionError(
                "its head is more than one linear layer, and only such a one learns without torch",
                where=self.exported.folder,
                fix="Learn with the model that it was made from.",
            )
        facts = self.facts  # the network gives its layer with any pass
        waveforms = np.zeros((1, facts.lengths.clip_samples), np.float32) if "waveform" in facts.inputs else None
        video = None if facts.video_shape is None else np.zeros((1, *facts.video_shape), np.float32)
        weight, bias = self._run([HEAD_WEIGHT, HEAD_BIAS], {_WAVEFORM: waveforms, PICTURE: video})
        head = Head(weight, bias)
        if head.weight.shape != (len(facts.labels), head.weight.shape[1]) or head.bias.shape != (len(facts.labels),):
            raise CheckpointError(
                "the last layer of the network is not of the classes that the folder names",
                where=self.exported.network,
                fix="Export the model again.",
            )
        return head

    def frames(self, waveforms: Floats | None, video: Floats | None = None) -> tuple[Floats, NDArray[np.float64]]:
        """See `Engine.frames`."""
        if FRAMES not in self.exported.outputs:
            return super().frames(waveforms, video)
        (frames,) = self._run([FRAMES], {_WAVEFORM: waveforms, PICTURE: video})
        return frames, (np.arange(frames.shape[1], dtype=np.float64) + 0.5) / self.exported.frame_rate

    def frame_logits(self, waveforms: Floats) -> Floats:
        """See `Engine.frame_logits`."""
        if FRAME_LOGITS not in self.exported.outputs:
            return super().frame_logits(waveforms)
        (logits,) = self._run([FRAME_LOGITS], {_WAVEFORM: waveforms})
        return logits

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        head = self.exported.head
        return self.body_fingerprint() if head is None else _digest(self.body_fingerprint(), head.digest)

    def embedding_fingerprint(self) -> str:
        """See `Engine.embedding_fingerprint`; that of the model where the weights are kept as they were."""
        of_model = self.exported.source.get("embedding")
        if self.exported.precision == "fp32" and isinstance(of_model, str):
            return of_model
        return _digest(self.exported.network_sha256, self._front_end_digest)

    def body_fingerprint(self) -> str:
        """A hash of the numbers that decide what the last layer takes; another layer leaves it the same."""
        head = self.exported.head
        taken = ["embedding"] if head is not None and head.over_embedding else []
        return _digest(self.exported.network_sha256, self._front_end_digest, *taken)

    @property
    def _front_end_digest(self) -> str | None:
        front_end = self.exported.front_end
        return None if front_end is None else front_end.digest

    def code_fingerprint(self) -> str:
        """See `Engine.code_fingerprint`."""
        digest = hashlib.blake2b(f"{version('onnxruntime')} {np.__version__}".encode(), digest_size=16)
        for path in (__file__, numpy_executor.__file__):
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()

    def _output(self, given: Mapping[str, Floats | None], embed: bool) -> EngineOutput:
        head = self.exported.head
        if head is not None and head.over_embedding:
            (embedding,) = self._run([EMBEDDING], given)
            return EngineOutput(head.logits(_of_unit_length(embedding)), embedding if embed else None)
        found, *more = self._run([LOGITS if head is None else HEAD_INPUT, *_embedding(embed)], given)
        return EngineOutput(found if head is None else head.logits(found), more[0] if embed else None)

    def _run(self, outputs: Sequence[str], given: Mapping[str, Floats | None]) -> list[Floats]:
        """The *outputs* for a batch of whatever the network takes of *given*."""
        session = self.session
        names = [one.name for one in session.get_inputs()]

        def run(part: dict[str, Floats]) -> list[Floats]:
            if _WAVEFORM in part:
                part[SPECTROGRAM] = self._spectrograms(part.pop(_WAVEFORM))
            answers: list[Floats] = session.run(list(outputs), part)
            return answers

        taken = {
            name: np.ascontiguousarray(array, dtype=np.float32)
            for name, array in given.items()
            if array is not None and (SPECTROGRAM if name == _WAVEFORM else name) in names
        }
        try:
            answers = self._by_threads(run, self._parts(taken))
        except AudiotagError:
            raise
        except Exception as error:  # those of ONNX Runtime have no class in common
            raise OptionError(
                f"ONNX Runtime cannot compute the network ({str(error).partition(chr(10))[0]})",
                where=self.facts.name,
                fix="Export the model again, or compute with --engine=torch.",
            ) from error
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def _parts(self, given: Mapping[str, Floats]) -> list[dict[str, Floats]]:
        """A batch cut into what goes through the network at once: a clip of the trained length, or shorter ones."""
        if not given:
            return [{}]
        size, count = 1, min(map(len, given.values()))
        if _WAVEFORM in given:
            size = max(1, self.facts.lengths.clip_samples // max(1, given[_WAVEFORM].shape[1]))
        size = min(size, -(-count // self.threads))
        return [{name: array[first : first + size] for name, array in given.items()} for first in range(0, count, size)]

    def _spectrograms(self, waveforms: Floats) -> Floats:
        front_end = self.exported.front_end
        assert front_end is not None  # the folder was checked
        return stacked([log_mel_features(front_end, row) for row in waveforms])

    def _by_threads(self, function: Callable[[_Part], _Result], parts: Sequence[_Part]) -> list[_Result]:
        """*function* of each of the *parts*, in their order."""
        if self.threads == 1 or len(parts) == 1:
            return list(map(function, parts))
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, parts))


def _embedding(wanted: bool) -> list[str]:
    return [EMBEDDING] if wanted else []


def _of_unit_length(embeddings: Floats) -> Floats:
    rows: Floats = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    return rows


def _digest(*numbers: str | None) -> str:
    return hashlib.blake2b(repr(numbers).encode(), digest_size=16).hexdigest()
