"""The folder of an exported network: data only, which any language can read and nobody needs to trust.

    network.onnx            spectrogram (and picture) → logits, embedding, frames, frame_logits
    front_end.safetensors   window and filters of the front end, where there is one
    audiotag.json           all numbers: front end, classes, thresholds, lengths, licences, where the weights came from

docs/export.md describes every field for those who write such folders, or read them elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.frontends.log_mel import LogMel, log_mel_from
from audiotag.audio.windows import PassLengths
from audiotag.display import brief_repr
from audiotag.documents import Fields, json_text
from audiotag.engines.network_file import check_network_file
from audiotag.errors import CheckpointError
from audiotag.files import file_sha256, write_text
from audiotag.folders import current_folder
from audiotag.labels import LabelSet
from audiotag.models.facts import (
    EXPORT_FORMAT,
    FACTS_FILE,
    FORMAT_VERSION,
    Classes,
    model_folder,
    open_facts,
    read_classes,
)

NETWORK_FILE = "network.onnx"
FRONT_END_FILE = "front_end.safetensors"

SPECTROGRAM, PICTURE = "spectrogram", "picture"
"""Inputs of the network: float32 (batch, bands, frames) and (batch, channels, height, width)."""
LOGITS, EMBEDDING, FRAMES, FRAME_LOGITS = "logits", "embedding", "frames", "frame_logits"
"""Its outputs: float32 (batch, classes), (batch, dim), (batch, frames, dim), (batch, frames, classes)."""

INPUTS: Mapping[str, str] = {"waveform": SPECTROGRAM, "video": PICTURE}
"""What a model takes → the network's input for it."""

PRECISIONS = ("fp32", "fp16", "int8")
"""How the weights are kept; all of them are computed with in float32."""

_FIX = "Copy the folder again, or export the model again."
_LARGEST_FACTS = 64 << 20
_LARGEST_FRONT_END = 64 << 20
_LONGEST_SECONDS = 3600.0
_MOST_FEATURES = 1 << 27  # of one pass: 512 MB
_MOST_PIXELS = 1 << 26


@brief_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class Exported:
    """What the folder says; see the module.

    Attributes:
        folder: Where it is.
        name: What outputs call it.
        precision: One of `PRECISIONS`.
        network_sha256: Of the network file.
        outputs: Names of its outputs.
        front_end: Waveform → spectrogram; None for a network that takes pictures only.
        inputs: What the model takes: ``"waveform"``, ``"video"``.
        video_shape: (channels, height, width) of a picture, None where it takes none.
        lengths: How much sound goes in one pass.
        embedding_dim: Size of the clip embedding.
        frame_rate: Frames per second of ``frames``.
        labels: The classes of its logits, in order.
        single_label: Whether scores are a softmax over classes.
        thresholds: Tuned thresholds, float64 (classes,); None for none.
        source: Which model it was made from: its descriptor's name, plugin, options, and a digest of its weights.
        card: Licences, citation and published results.
        metadata: What the model says about itself beyond that.
        versions: Of what made it.
    """

    folder: Path
    name: str
    precision: str
    network_sha256: str
    outputs: tuple[str, ...]
    front_end: LogMel | None
    inputs: tuple[str, ...]
    video_shape: tuple[int, int, int] | None
    lengths: PassLengths
    embedding_dim: int
    frame_rate: float
    labels: LabelSet
    single_label: bool
    thresholds: NDArray[np.float64] | None
    source: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> Path:
        """The network file."""
        return current_folder(self.folder) / NETWORK_FILE

    def facts(self) -> dict[str, Any]:
        """All of it as JSON has it, but for the arrays of the front end; `read_exported` takes it back."""
        front_end = None if self.front_end is None else {**self.front_end.numbers(), "digest": self.front_end.digest}
        return {
            "format": EXPORT_FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "precision": self.precision,
            "network": {"file": NETWORK_FILE, "sha256": self.network_sha256, "outputs": list(self.outputs)},
            "inputs": list(self.inputs),
            "front_end": front_end,
            "video_shape": None if self.video_shape is None else list(self.video_shape),
            "lengths": asdict(self.lengths),
            "embedding_dim": self.embedding_dim,
            "frame_rate": self.frame_rate,
            **Classes(self.labels, self.single_label, self.thresholds).to_dict(),
            "source": dict(self.source),
            "card": dict(self.card),
            "versions": dict(self.versions),
            "metadata": dict(self.metadata),
        }


def read_exported(folder: str | Path) -> Exported:
    """What an exported folder says, everything in it checked.

    Args:
        folder: The folder, or its ``audiotag.json``.

    Raises:
        CheckpointError: A file is missing, damaged, not the one that was written, or refers to others; or the format
            is of another version.
    """
    proper = model_folder(folder)
    actual = current_folder(proper)
    path = actual / FACTS_FILE
    _require_size(path, _LARGEST_FACTS)
    facts = open_facts(path, EXPORT_FORMAT, "an exported network", _FIX)
    network = facts.fields("network")
    exported = Exported(
        folder=proper,
        name=facts.text("name"),
        precision=facts.text("precision"),
        network_sha256=network.text("sha256"),
        outputs=tuple(network.texts("outputs")),
        front_end=_front_end(facts, actual / FRONT_END_FILE),
        inputs=tuple(facts.texts("inputs")),
        video_shape=_video_shape(facts),
        lengths=_lengths(facts.fields("lengths")),
        embedding_dim=facts.integer("embedding_dim", least=1),
        frame_rate=facts.number("frame_rate", least=1e-6),
        **read_classes(facts, proper)._asdict(),
        source=dict(facts.fields("source")),
        card=dict(facts.fields("card")),
        metadata=dict(facts.fields("metadata")),
        versions=dict(facts.fields("versions")),
    )
    _check(exported, facts)
    check_network_file(actual / NETWORK_FILE)
    if file_sha256(actual / NETWORK_FILE) != exported.network_sha256:
        raise CheckpointError(
            "it is not the network that the folder was written with", where=exported.network, fix=_FIX
        )
    return exported


def keep_exported_thresholds(folder: str | Path, thresholds: NDArray[np.float64], metadata: Mapping[str, Any]) -> None:
    """Write tuned thresholds into an exported folder.

    Args:
        folder: The folder.
        thresholds: float (classes,).
        metadata: What they were tuned on, for the record; takes its place among the folder's metadata.

    Raises:
        CheckpointError: The folder holds no exported network.
    """
    exported = read_exported(folder)
    changed = replace(exported, thresholds=thresholds, metadata={**exported.metadata, **metadata})
    write_facts(changed, current_folder(exported.folder))


def write_facts(exported: Exported, folder: Path) -> None:
    """Write ``audiotag.json`` into *folder*, at once."""
    write_text(folder / FACTS_FILE, json_text(exported.facts(), indent=2) + "\n")


def _check(exported: Exported, facts: Fields) -> None:
    """Refuse what each is right alone and does not go together."""
    if exported.precision not in PRECISIONS:
        raise facts.refuse("precision", f"must be one of {', '.join(PRECISIONS)}")
    if exported.inputs not in (("waveform",), ("video",), ("waveform", "video")):
        raise facts.refuse("inputs", "must name waveform, video or both, in this order")
    if not {LOGITS, EMBEDDING} <= {*exported.outputs} <= {LOGITS, EMBEDDING, FRAMES, FRAME_LOGITS}:
        raise facts.refuse("network.outputs", f"must be {LOGITS}, {EMBEDDING}, and may be {FRAMES} and {FRAME_LOGITS}")
    if (exported.front_end is None) == ("waveform" in exported.inputs):
        raise facts.refuse("front_end", "must be there for a waveform, and for nothing else")
    if (exported.video_shape is None) == ("video" in exported.inputs):
        raise facts.refuse("video_shape", "must be there for a picture, and for nothing else")
    if exported.thresholds is not None and not ((exported.thresholds >= 0) & (exported.thresholds <= 1)).all():
        raise facts.refuse("thresholds", "must lie between 0 and 1")
    front_end, lengths = exported.front_end, exported.lengths
    if front_end is None:
        return
    if front_end.sample_rate != lengths.sample_rate:
        raise facts.refuse("lengths.sample_rate", f"must be that of the front end, {front_end.sample_rate}")
    samples = round(max(lengths.shortest, lengths.longest) * lengths.sample_rate)
    count = front_end.count_frames(max(samples, front_end.min_samples))
    limit = round(_LONGEST_SECONDS * lengths.sample_rate)
    if count * front_end.bands > _MOST_FEATURES or max(front_end.min_samples, front_end.pad_samples) > limit:
        raise facts.refuse("front_end", "makes spectrograms larger than any network takes")
    if math.ceil(lengths.shortest * lengths.sample_rate) < front_end.min_samples:
        raise facts.refuse("lengths.shortest", "is shorter than the front end takes")


def _lengths(facts: Fields) -> PassLengths:
    shortest, clip, longest = (facts.number(name) for name in ("shortest", "clip", "longest"))
    if not 0 < shortest <= longest or not 0 < clip <= longest or longest > _LONGEST_SECONDS:
        raise facts.refuse("longest", f"must be at least the others, which are above 0, and at most {_LONGEST_SECONDS}")
    return PassLengths(facts.integer("sample_rate", least=1000), shortest, clip, longest)


def _video_shape(facts: Fields) -> tuple[int, int, int] | None:
    if facts.get("video_shape") is None:
        return None
    shape = facts.integers("video_shape")
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > _MOST_PIXELS:
        raise facts.refuse("video_shape", "must be channels, height and width of a picture")
    return shape[0], shape[1], shape[2]


def _front_end(facts: Fields, path: Path) -> LogMel | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if facts.get("front_end") is None:
        return None
    numbers = facts.fields("front_end")
    _require_size(path, _LARGEST_FRONT_END)
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the front end cannot be read ({error})", where=path, fix=_FIX) from error
    if set(arrays) != {"window", "filters"} or not all(
        array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values()
    ):
        raise CheckpointError("a front end has window and filters, finite numbers of float32", where=path, fix=_FIX)
    described = log_mel_from(numbers, arrays, where=path)
    if described.digest != numbers.text("digest"):
        raise CheckpointError("it is not the front end that the folder was written with", where=path, fix=_FIX)
    return described


def _require_size(path: Path, most: int) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"the file cannot be read: {error.strerror or error}", where=path, fix=_FIX) from error
    if size > most:
        raise CheckpointError(f"the file has {size} bytes, and may have {most}", where=path, fix=_FIX)
