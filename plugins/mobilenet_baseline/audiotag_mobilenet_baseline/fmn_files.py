"""Descriptors of the frame-wise MobileNets: the family `fmn` and every published checkpoint. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audiotag.plugin import BackboneSpec, Weights
from audiotag_mobilenet_baseline.table import embedding_size

_EFFICIENT_SED = "https://github.com/theMoro/EfficientSED/releases/download/v0.0.1/"
_PRETRAINED_SED = "https://github.com/fschmid56/PretrainedSED/releases/download/v0.0.1/"
_FACTORY = "audiotag_mobilenet_baseline.fmn:FMN"

EFFICIENT_SED_PAPER = (
    "Morocutti, Schmid, Greif, Foscarin, Widmer, Exploring Performance-Complexity Trade-Offs in Sound Event Detection "
    "Models, EUSIPCO 2025 (arXiv 2503.11373)"
)
_PRETRAINED_SED_PAPER = (
    "Schmid, Morocutti, Foscarin, Schlüter, Primus, Widmer, Effective Pre-Training of Audio Transformers for Sound "
    "Event Detection, ICASSP 2025 (arXiv 2409.09546)"
)

_COMMON: Mapping[str, Any] = {
    "factory": _FACTORY,
    "family": "fmn",
    "sample_rate": 16_000,
    "clip_seconds": 10.0,
    "min_seconds": 3.0,
    # Squeeze-and-excitation and sequence models look at the whole clip, whose length is part of what was learnt.
    "max_seconds": 10.0,
    "licence": "MIT",
    "frame_scores": "every 40 ms, by the head itself",
}

_PLAIN: Mapping[str, float] = {"04": 0.3952, "06": 0.4075, "10": 0.4228, "20": 0.4386, "30": 0.4424}
"""Width → AudioSet-strong PSDS1, the mean of several runs and not of the file; so are those below."""

_SEQUENCES: Mapping[tuple[str, int], tuple[float, float, float]] = {
    ("04", 104): (0.4010, 0.4137, 0.4081),
    ("06", 160): (0.4178, 0.4254, 0.4037),
    ("10", 128): (0.4275, 0.4345, 0.4313),
    ("10", 256): (0.4386, 0.4405, 0.4353),
    ("10", 512): (0.4411, 0.4432, 0.4396),
    ("10", 1024): (0.4455, 0.4448, 0.4450),
    ("20", 512): (0.4513, 0.4544, 0.4494),
    ("30", 768): (0.4564, 0.4567, 0.4577),
}
"""Width and size of the sequence model → PSDS1 with ``tf``, ``hybrid`` and ``gru``."""

_KINDS: Mapping[str, str] = {"tf": "a transformer", "hybrid": "attention and recurrence", "gru": "a GRU"}


def fmn_backbones() -> Iterator[BackboneSpec]:
    """The family, and all that its authors have published."""
    yield BackboneSpec(
        name="fmn",
        summary="MobileNet that scores frames of 40 ms, for sound events, in any width",
        citation=EFFICIENT_SED_PAPER,
        **_COMMON,
    )
    for width, psds in _PLAIN.items():
        yield _spec(f"fmn{width}_weak", width, _WEAK, "AudioSet tagger that keeps time, to start training from")
        yield _strong(f"fmn{width}_strong", width, {}, psds)
    for (width, size), figures in _SEQUENCES.items():
        for kind, psds in zip(_KINDS, figures, strict=True):
            yield _strong(f"fmn{width}+{kind}-{size}_strong", width, {"seq_model": kind, "seq_dim": size}, psds)
    advanced = {"seq_model": "tf", "seq_dim": 256}
    yield _strong("fmn10+tf-256_advanced-kd-weak-strong", "10", advanced, 0.4525, "weak clips learnt too")
    for width in ("06", "10"):
        yield _strong(f"frame_mn{width}_strong_1", width, {}, None, address=_PRETRAINED_SED)


_WEAK: Mapping[str, Any] = {"head": "weak"}


def _strong(
    name: str, width: str, options: Mapping[str, Any], psds: float | None, *more: str, address: str = _EFFICIENT_SED
) -> BackboneSpec:
    kind = options.get("seq_model")
    parts = ["sound events of AudioSet-strong", *([] if kind is None else [_KINDS[kind]]), *more]
    figures = {} if psds is None else {"AudioSet-strong PSDS1": psds}
    return _spec(name, width, options, ", ".join(parts), figures=figures, address=address)


def _spec(
    name: str, width: str, options: Mapping[str, Any], summary: str, address: str = _EFFICIENT_SED, **fields: Any
) -> BackboneSpec:
    weak = options == _WEAK
    return BackboneSpec(
        name=name,
        summary=summary[0].upper() + summary[1:],
        embedding_dim=embedding_size(int(width) / 10),
        labels="audioset" if weak else "audioset_strong",
        num_classes=527 if weak else 447,
        options={"width_mult": int(width) / 10, **options},
        weights=Weights(urls=(f"{address}{name}.pt",), filename=f"{name}.pt", licence="MIT"),
        citation=_PRETRAINED_SED_PAPER if address == _PRETRAINED_SED else EFFICIENT_SED_PAPER,
        **fields,
        **_COMMON,
    )
