"""The networks of a tagger at work: waveforms or clips in, logits and embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiotag.data.clips import Clip
from audiotag.errors import AudioError, AudiotagError, OptionError
from audiotag.inference.ahead import iterate_ahead, map_ahead
from audiotag.inference.combine import EnsembleMode, check_ensemble, combine_logits
from audiotag.inference.member import Member, choose_device
from audiotag.inference.sound import Sound, SoundReader
from audiotag.models.model import Model


@dataclass(frozen=True, eq=False)
class ClipOutput:
    """What the networks gave for one clip.

    Attributes:
        clip: The clip.
        logits: float32 (classes,), finite; None where there is an error.
        embedding: float32 (dim,), where embeddings were asked for.
        seconds: Length of the clip.
        error: Why it could not be read, or that the networks' answer is not finite.
    """

    clip: Clip
    logits: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    seconds: float = 0.0
    error: AudiotagError | None = None


class Engine:
    """One or several models on a device.

    Args:
        models: The members: the same classes in any order; sample rates may differ.
        device: As `choose_device` takes it.
        precision: As `audiotag.inference.member.choose_precision` takes it.
        accelerate: Whether to compute with copies made for speed, on the CPU.
        ensemble: Average logits or probabilities.

    Raises:
        OptionError: A setting cannot be.
        LabelError: The members do not have the same classes.

    Attributes:
        device: Where they compute.
        members: The networks.
        sample_rate: Hz that clips are read at: the highest of the members.
        reader: Reads what the members need.
    """

    def __init__(
        self,
        models: Sequence[Model],
        device: str | torch.device,
        precision: str,
        accelerate: bool,
        ensemble: EnsembleMode,
    ) -> None:
        self._columns = check_ensemble(models, ensemble)
        self._ensemble: EnsembleMode = ensemble
        self._single_label = models[0].single_label
        self._classes = len(models[0].labels)
        self.device = choose_device(device)
        self.members = [Member(model, self.device, precision, accelerate) for model in models]
        self.sample_rate: int = max(member.sample_rate for member in self.members)
        shapes = {model.backbone.video_shape for model in models if "video" in model.backbone.inputs}
        if len(shapes) > 1:
            raise OptionError(f"the models take pictures of different shapes: {shapes}", fix="Use one of them.")
        self.reader = SoundReader(
            self.sample_rate,
            hears=any(member.needs_waveform for member in self.members),
            video_shape=next(iter(shapes), None),
            longest_seconds=min(member.longest_seconds for member in self.members),
        )

    def check_finite(self, values: NDArray[np.float32], where: object) -> None:
        """Refuse an answer that is no number: it would be taken for a sound that is not heard.

        Raises:
            AudioError: Some of *values* are NaN or infinite; *where* is the recording.
        """
        broken = int(np.count_nonzero(~np.isfinite(values)))
        if broken:
            names = " + ".join(member.model.name for member in self.members)
            raise AudioError(
                f"{broken} of the {values.size} numbers that {names} gives are not finite",
                where=where,
                fix="Compute with precision 32; if that is no help, the weights are damaged: load them anew.",
            )

    def only_member(self) -> Member:
        """The member of a tagger that is no ensemble.

        Raises:
            OptionError: There are several.
        """
        if len(self.members) > 1:
            names = " + ".join(member.model.name for member in self.members)
            raise OptionError("an ensemble has no embedding of its own", where=names, fix="Load one model.")
        return self.members[0]

    def score(
        self,
        waveforms: Sequence[NDArray[np.float32]] | None,
        pictures: Sequence[NDArray[np.float32]] | None,
        sample_rate: int,
        batch_size: int,
        *,
        embed: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Combined logits (clips, classes), and the only member's embeddings where *embed*."""
        outputs = [member.score(waveforms, pictures, sample_rate, batch_size, embed=embed) for member in self.members]
        return self._combine([logits for logits, _ in outputs]), outputs[0][1]

    def _combine(self, members: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        aligned = [
            logits if columns is None else logits[:, columns]
            for logits, columns in zip(members, self._columns, strict=True)
        ]
        return combine_logits(aligned, self._ensemble, self._single_label)

    def score_clips(
        self, clips: Iterable[Clip], batch_size: int, workers: int, embed: bool = False
    ) -> Iterator[ClipOutput]:
        """The output of each clip, in order; threads read ahead of the networks."""
        chunk: list[Sound] = []
        for sound in map_ahead(self.reader.read, clips, workers=workers, depth=batch_size + 2 * workers):
            chunk.append(sound)
            if len(chunk) == batch_size or sound.is_long:
                yield from self._score_chunk(chunk, batch_size, embed)
                chunk = []
        yield from self._score_chunk(chunk, batch_size, embed)

    def _score_chunk(self, chunk: list[Sound], batch_size: int, embed: bool) -> Iterator[ClipOutput]:
        whole = [sound for sound in chunk if sound.error is None and not sound.is_long]
        logits = np.empty((0, self._classes), dtype=np.float32)
        embeddings: NDArray[np.float32] | None = None
        if whole:
            waveforms = [sound.waveform for sound in whole if sound.waveform is not None]
            pictures = [sound.picture for sound in whole if sound.picture is not None]
            logits, embeddings = self.score(
                waveforms or None, pictures or None, self.sample_rate, batch_size, embed=embed
            )
        row = 0
        for sound in chunk:
            if sound.error is not None:
                yield ClipOutput(sound.clip, error=sound.error)
            elif sound.is_long:
                yield self._score_long(sound.clip, batch_size, embed)
            else:
                embedding = None if embeddings is None else embeddings[row]
                yield self._checked(ClipOutput(sound.clip, logits[row], embedding, sound.seconds))
                row += 1

    def _checked(self, output: ClipOutput) -> ClipOutput:
        try:
            for values in (output.logits, output.embedding):
                if values is not None:
                    self.check_finite(values, output.clip.path)
        except AudioError as error:
            return ClipOutput(output.clip, error=error)
        return output

    def _score_long(self, clip: Clip, batch_size: int, embed: bool) -> ClipOutput:
        """A clip that is read in windows; the result is that of reading it whole."""
        totals: list[NDArray[np.float32]] = []
        embedding: NDArray[np.float32] | None = None
        seconds = 0.0
        try:
            for member in self.members:
                logit_sum: Any = 0.0
                embedding_sum: Any = 0.0
                count = 0
                length = member.clip_seconds
                for batch in iterate_ahead(self.reader.windows(clip, length, length, batch_size), depth=2):
                    logits, embeddings = member.score(
                        batch.waveforms, batch.pictures, self.sample_rate, batch_size, embed=embed
                    )
                    logit_sum = logit_sum + logits.sum(axis=0, dtype=np.float64)
                    count += len(logits)
                    seconds = batch.offsets[-1]
                    if embeddings is not None:
                        embedding_sum = embedding_sum + embeddings.sum(axis=0, dtype=np.float64)
                totals.append((logit_sum / count).astype(np.float32)[None])
                if embed:
                    embedding = (embedding_sum / count).astype(np.float32)
        except AudiotagError as error:
            return ClipOutput(clip, error=error)
        return self._checked(ClipOutput(clip, self._combine(totals)[0], embedding, seconds))
