"""The folder of an exported network: data only, which any language can read and nobody needs to trust.

    network.onnx            spectrogram (and picture) → logits, embedding, frames, frame_logits
    front_end.safetensors   window and filters of the front end, where there is one
    head.safetensors        weight and bias of another last layer, where one was learned since (`audiotag online`)
    audiotag.json           all numbers: front end, classes, thresholds, lengths, licences, where the weights came from

docs/export.md describes every field for those who write such folders, or read them elsewhere.
"""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.frontends.log_mel import LogMel, log_mel_from
from audiotag.audio.windows import PassLengths, WindowMean
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
HEAD_FILE = "head.safetensors"

SPECTROGRAM, PICTURE = "spectrogram", "picture"
"""Inputs of the network: float32 (batch, bands, frames) and (batch, channels, height, width)."""
LOGITS, EMBEDDING, FRAMES, FRAME_LOGITS = "logits", "embedding", "frames", "frame_logits"
"""Its outputs: float32 (batch, classes), (batch, dim), (batch, frames, dim), (batch, frames, classes)."""

HEAD_INPUT, HEAD_WEIGHT, HEAD_BIAS = HEAD_OUTPUTS = ("head_input", "head_weight", "head_bias")
"""Outputs of a network whose last layer is linear: float32 (batch, dim), (classes, dim), (classes,); its logits are
head_input · head_weightᵀ + head_bias."""

INPUTS: Mapping[str, str] = {"waveform": SPECTROGRAM, "video": PICTURE}
"""What a model takes → the network's input for it."""

HEAD_ARRAYS = ("weight", "bias")
"""What `HEAD_FILE` holds."""

PRECISIONS = ("fp32", "fp16", "int8")
"""How the weights are kept; all of them are computed with in float32."""

_FIX = "Copy the folder again, or export the model again."
_LARGEST_FACTS = 64 << 20
_LARGEST_FRONT_END = 64 << 20
_LARGEST_HEAD = 1 << 30
_LONGEST_SECONDS = 3600.0
_MOST_FEATURES = 1 << 27  # of one pass: 512 MB
_MOST_PIXELS = 1 << 26


class Head(NamedTuple):
    """A last layer: logits are v · weightᵀ + bias.

    Attributes:
        weight: float32 (classes, dim).
        bias: float32 (classes,).
        over_embedding: Whether v is the clip embedding, scaled to unit length, and not what the network's own takes.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    over_embedding: bool = False

    def logits(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (batch, classes) of what it takes, (batch, dim), which `OnnxEngine.head_input` gives."""
        answers: NDArray[np.float32] = given @ self.weight.T + self.bias
        return answers

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Its numbers by name."""
        return {name: getattr(self, name) for name in HEAD_ARRAYS}

    @property
    def digest(self) -> str:
        """A hash of its numbers."""
        digest = hashlib.blake2b(b"embedding" if self.over_embedding else b"", digest_size=16)
        for array in self.arrays().values():
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


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
        head: A last layer that was learned since, for the network's own, whose logits are of no use then.
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
    head: Head | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def learns(self) -> bool:
        """Whether the network says what its last layer is, so that another can be learned."""
        return not {*HEAD_OUTPUTS}.isdisjoint(self.outputs)

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
            "head": None
            if self.head is None
            else {"digest": self.head.digest, "over_embedding": self.head.over_embedding},
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
        head=_head(facts, actual / HEAD_FILE),
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


def keep_exported(
    folder: str | Path, metadata: Mapping[str, Any], thresholds: NDArray[np.float64] | None = None
) -> None:
    """Write what was tuned into an exported folder.

    Args:
        folder: The folder.
        metadata: What was tuned, and on what; takes its place among its metadata.
        thresholds: float (classes,); None for those that there are.

    Raises:
        CheckpointError: The folder holds no exported network.
    """
    exported = read_exported(folder)
    kept = exported.thresholds if thresholds is None else thresholds
    changed = replace(exported, thresholds=kept, metadata={**exported.metadata, **metadata})
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
    classwise = {LOGITS, FRAME_LOGITS} if exported.head is None else set()
    least = {EMBEDDING, *(classwise - {FRAME_LOGITS})}
    if exported.learns or not (exported.head is None or exported.head.over_embedding):
        least |= {*HEAD_OUTPUTS}
    if not least <= {*exported.outputs} <= {EMBEDDING, FRAMES, *HEAD_OUTPUTS, *classwise}:
        raise facts.refuse(
            "network.outputs",
            f"must be {LOGITS}, {EMBEDDING}, and may be {FRAMES}, {FRAME_LOGITS} and all of {', '.join(HEAD_OUTPUTS)}; "
            f"beside another head these must be there, and {LOGITS} and {FRAME_LOGITS} must not",
        )
    head = exported.head
    if head is not None and len(head.bias) != len(exported.labels):
        raise facts.refuse("head", f"has {len(head.bias)} classes, and there are {len(exported.labels)}")
    if head is not None and head.over_embedding and head.weight.shape[1] != exported.embedding_dim:
        raise facts.refuse("head", f"takes {head.weight.shape[1]} numbers, and not the embedding")
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
    mean = facts.text("window_mean")
    if mean not in get_args(WindowMean):
        raise facts.refuse("window_mean", f"must be one of: {', '.join(get_args(WindowMean))}")
    return PassLengths(facts.integer("sample_rate", least=1000), shortest, clip, longest, cast(WindowMean, mean))


def _video_shape(facts: Fields) -> tuple[int, int, int] | None:
    if facts.get("video_shape") is None:
        return None
    shape = facts.integers("video_shape")
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > _MOST_PIXELS:
        raise facts.refuse("video_shape", "must be channels, height and width of a picture")
    return shape[0], shape[1], shape[2]


def _front_end(facts: Fields, path: Path) -> LogMel | None:
    if facts.get("front_end") is None:
        return None
    numbers = facts.fields("front_end")
    arrays = read_arrays(path, ("window", "filters"), _LARGEST_FRONT_END)
    described = log_mel_from(numbers, arrays, where=path.parent / FACTS_FILE, fix=_FIX)
    if described.digest != numbers.text("digest"):
        raise CheckpointError("it is not the front end that the folder was written with", where=path, fix=_FIX)
    return described


def _head(facts: Fields, path: Path) -> Head | None:
    if facts.get("head") is None:
        return None
    arrays = read_arrays(path, HEAD_ARRAYS, _LARGEST_HEAD)
    head = Head(**arrays, over_embedding=facts.fields("head").flag("over_embedding"))
    if head.weight.ndim != 2 or head.bias.shape != head.weight.shape[:1]:
        raise CheckpointError("a head has a row of weights and a bias for each class", where=path, fix=_FIX)
    if head.digest != facts.fields("head").text("digest"):
        raise CheckpointError("it is not the head that the folder was written with", where=path, fix=_FIX)
    return head


def read_arrays(path: Path, names: Collection[str], largest: int) -> dict[str, NDArray[np.float32]]:
    """The arrays of a safetensors file, which must be these.

    Args:
        path: The file.
        names: What it must hold, and nothing else: finite numbers of float32.
        largest: Bytes that it may have.

    Raises:
        CheckpointError: It cannot be read, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    _require_size(path, largest)
    try:
        arrays: dict[str, NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the arrays cannot be read ({error})", where=path, fix=_FIX) from error
    if set(arrays) != {*names} or not all(
        array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values()
    ):
        raise CheckpointError(
            f"it must hold {' and '.join(names)}, finite numbers of float32, and nothing else", where=path, fix=_FIX
        )
    return arrays


def _require_size(path: Path, most: int) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise CheckpointError(f"the file cannot be read: {error.strerror or error}", where=path, fix=_FIX) from error
    if not stat.S_ISREG(status.st_mode):  # whoever opens a pipe waits
        raise CheckpointError("the file is no regular file", where=path, fix=_FIX)
    if (size := status.st_size) > most:
        raise CheckpointError(f"the file has {size} bytes, and may have {most}", where=path, fix=_FIX)
