"""Descriptors of MobileNets: the families `mn`, `dymn` and `fmn`, every published checkpoint, and `home10`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from audiotag.plugin import BackboneSpec, RecipeSpec, Weights, hookimpl
from audiotag_mobilenet_baseline.fmn_files import EFFICIENT_SED_PAPER, fmn_backbones
from audiotag_mobilenet_baseline.table import embedding_size

AUDIOTAG_INTERFACE = 2

_ADDRESS = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"

_FACTORIES = {
    "mn": "audiotag_mobilenet_baseline.mn:MN",
    "dymn": "audiotag_mobilenet_baseline.dymn:DyMN",
}

_CITATIONS = {
    "mn": (
        "Schmid, Koutini, Widmer, Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge "
        "Distillation, ICASSP 2023 (arXiv 2211.04772)"
    ),
    "dymn": (
        "Schmid, Koutini, Widmer, Dynamic Convolutional Neural Networks as Efficient Pre-Trained Audio Models, "
        "TASLP 2024 (arXiv 2310.15648)"
    ),
}

_COMMON: Mapping[str, Any] = {
    "sample_rate": 32_000,
    "clip_seconds": 10.0,
    # Measured with mn04_as on cuts of known clips: a second alone is mostly lost (a keyboard's score falls from .89 to
    # .58), repeated to three it is found (.80); repeating it to ten gives no more at three times the work.
    "min_seconds": 3.0,
    "max_seconds": 30.0,
    "licence": "MIT",
}

_SIZES: Mapping[tuple[str, str], tuple[float, float]] = {
    ("mn", "04"): (0.983, 0.11),
    ("mn", "05"): (1.43, 0.16),
    ("mn", "10"): (4.88, 0.54),
    ("mn", "20"): (17.91, 2.06),
    ("mn", "30"): (39.09, 4.55),
    ("mn", "40"): (68.43, 8.03),
    ("dymn", "04"): (1.97, 0.12),
    ("dymn", "10"): (10.57, 0.58),
    ("dymn", "20"): (40.02, 2.2),
}
"""(Family, width) → published millions of parameters and billions of multiply-accumulates for ten seconds,
for 527 classes and the plain front end and strides."""

_KNOWN_FILES: Mapping[str, tuple[str, int]] = {
    "mn04_as_mAP_432.pt": ("899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c", 4_066_513),
}
"""File → (sha256, bytes); the publisher states none."""

_Options = Mapping[str, Any]
_NO_OPTIONS: _Options = {}
_REPLACE_SE: _Options = {"use_dy_blocks": "replace_se"}
_FC: _Options = {"head_type": "fully_convolutional"}

# Name · file without ".pt" · AudioSet mAP where it is published · options beyond the width.
# Of several files for one name the authors' names are kept: the plain one, then "(2)", "(3)" (and "(1)" for dymn20).
_AUDIOSET: tuple[tuple[str, str, float | None, _Options], ...] = (
    ("mn01_as", "mn01_as_mAP_298", 0.298, _NO_OPTIONS),
    ("mn02_as", "mn02_as_mAP_378", 0.378, _NO_OPTIONS),
    ("mn04_as", "mn04_as_mAP_432", 0.432, _NO_OPTIONS),
    ("mn05_as", "mn05_as_mAP_443", 0.443, _NO_OPTIONS),
    ("mn10_as", "mn10_as_mAP_471", 0.471, _NO_OPTIONS),
    ("mn20_as", "mn20_as_mAP_478", 0.478, _NO_OPTIONS),
    ("mn30_as", "mn30_as_mAP_482", 0.482, _NO_OPTIONS),
    ("mn40_as", "mn40_as_mAP_484", 0.484, _NO_OPTIONS),
    ("mn40_as(2)", "mn40_as_mAP_483", 0.483, _NO_OPTIONS),
    ("mn40_as(3)", "mn40_as_mAP_483(2)", 0.483, _NO_OPTIONS),
    ("mn40_as_no_im_pre", "mn40_as_no_im_pre_mAP_483", 0.483, _NO_OPTIONS),
    ("mn40_as_no_im_pre(2)", "mn40_as_no_im_pre_mAP_483(2)", 0.483, _NO_OPTIONS),
    ("mn40_as_no_im_pre(3)", "mn40_as_no_im_pre_mAP_482", 0.482, _NO_OPTIONS),
    ("mn40_as_ext", "mn40_as_ext_mAP_487", 0.487, _NO_OPTIONS),
    ("mn40_as_ext(2)", "mn40_as_ext_mAP_486", 0.486, _NO_OPTIONS),
    ("mn40_as_ext(3)", "mn40_as_ext_mAP_485", 0.485, _NO_OPTIONS),
    ("mn10_as_hop_5", "mn10_as_hop_5_mAP_475", 0.475, {"hop_size": 160}),
    ("mn10_as_hop_15", "mn10_as_hop_15_mAP_463", 0.463, {"hop_size": 480}),
    ("mn10_as_hop_20", "mn10_as_hop_20_mAP_456", 0.456, {"hop_size": 640}),
    ("mn10_as_hop_25", "mn10_as_hop_25_mAP_447", 0.447, {"hop_size": 800}),
    ("mn10_as_mels_40", "mn10_as_mels_40_mAP_453", 0.453, {"n_mels": 40}),
    ("mn10_as_mels_64", "mn10_as_mels_64_mAP_461", 0.461, {"n_mels": 64}),
    ("mn10_as_mels_256", "mn10_as_mels_256_mAP_474", 0.474, {"n_mels": 256}),
    ("mn10_as_fc", "mn10_as_fc_mAP_465", 0.465, _FC),
    ("mn10_as_fc_s2221", "mn10_as_fc_s2221_mAP_466", 0.466, {**_FC, "strides": (2, 2, 2, 1)}),
    ("mn10_as_fc_s2211", "mn10_as_fc_s2211_mAP_466", 0.466, {**_FC, "strides": (2, 2, 1, 1)}),
    ("dymn04_as", "dymn04_as", 0.450, _NO_OPTIONS),
    ("dymn10_as", "dymn10_as", 0.477, _NO_OPTIONS),
    ("dymn20_as", "dymn20_as_mAP_493", 0.493, _NO_OPTIONS),
    ("dymn20_as(1)", "dymn20_as", None, _NO_OPTIONS),
    ("dymn20_as(2)", "dymn20_as_mAP_489", 0.489, _NO_OPTIONS),
    ("dymn20_as(3)", "dymn20_as_mAP_490", 0.490, _NO_OPTIONS),
    ("dymn04_replace_se_as", "dymn04_replace_se_as", None, _REPLACE_SE),
    ("dymn10_replace_se_as", "dymn10_replace_se_as", None, _REPLACE_SE),
)

_IMAGENET: Mapping[str, int] = {
    **{f"mn{width}_im": 1000 for width in ("01", "02", "04", "05", "10", "20", "30", "40")},
    # Its head, which goes back to torchvision's weights, is random and has AudioSet's size.
    "mn10_im_pytorch": 527,
    **{f"dymn{width}_im": 1000 for width in ("04", "10", "20")},
}
"""Name, which is the file without ".pt" too → classes of its head."""

_HOME10_OPTIONS: _Options = {"width_mult": 0.2, "n_mels": 64, "hop_size": 640, "strides": (1, 2, 2, 2)}
_HOME10_SHA256 = "55d021d4b141a71c08dc341a126ab75f4d2e1a0a94f73235cc6ab2398c5cc706"

_SUMMARIES: Mapping[str, str] = {
    "hop": "AudioSet, frames every {hop_size} samples",
    "mels": "AudioSet, {n_mels} mel bands",
    "fc": "AudioSet, fully convolutional head",
    "no": "AudioSet, not pre-trained on ImageNet",
    "ext": "AudioSet, extended training",
    "replace": "AudioSet, dynamic blocks in place of squeeze-and-excitation only",
}
"""First word of a name's variant → summary."""


def _family_and_width(name: str) -> tuple[str, str]:
    family = "dymn" if name.startswith("dymn") else "mn"
    return family, name[len(family) : len(family) + 2]


def _weights(file: str) -> Weights:
    sha256, size = _KNOWN_FILES.get(f"{file}.pt", (None, None))
    url = f"{_ADDRESS}{quote(file)}.pt"
    return Weights(urls=(url,), filename=f"{file}.pt", sha256=sha256, bytes=size, licence="MIT")


def _summary(name: str, options: _Options) -> str:
    variant = next((word for word in name.split("(")[0].split("_")[1:] if word in _SUMMARIES), None)
    summary = "AudioSet tagger" if variant is None else _SUMMARIES[variant].format_map(options)
    if "strides" in options:
        summary += ", strides " + "".join(map(str, options["strides"]))
    return summary


def _frame_scores(options: _Options) -> str:
    if "head_type" not in options:
        return ""  # an MLP over the mean
    seconds = 0.02 * math.prod(options.get("strides", (2, 2, 2, 2)))
    return f"every {seconds:g} s, by the score map of the fully convolutional head"


def _spec(name: str, file: str, options: _Options = _NO_OPTIONS, **fields: Any) -> BackboneSpec:
    family, width = _family_and_width(name)
    width_mult = int(width) / 10
    return BackboneSpec(
        name=name,
        factory=_FACTORIES[family],
        family=family,
        embedding_dim=embedding_size(width_mult),
        options={"width_mult": width_mult, **options},
        frame_scores=_frame_scores(options),
        weights=_weights(file),
        citation=_CITATIONS[family],
        **fields,
        **_COMMON,
    )


def _audioset(name: str, file: str, mean_ap: float | None, options: _Options) -> BackboneSpec:
    figures = {} if mean_ap is None else {"AudioSet mAP": mean_ap}
    size = _SIZES.get(_family_and_width(name))
    if size is not None and not options:
        figures |= {"parameters (M)": size[0], "GMAC for 10 s": size[1]}
    temperature = {"temperature": 1.0} if name.startswith("dymn") else {}
    summary = _summary(name, options)
    return _spec(
        name, file, {**options, **temperature}, summary=summary, num_classes=527, labels="audioset", figures=figures
    )


def _imagenet(name: str, num_classes: int) -> BackboneSpec:
    return _spec(name, name, summary="ImageNet weights", num_classes=num_classes)


def _family(name: str, summary: str) -> BackboneSpec:
    return BackboneSpec(
        name=name, factory=_FACTORIES[name], summary=summary, family=name, citation=_CITATIONS[name], **_COMMON
    )


def _home10() -> BackboneSpec:
    """Our own small tagger; examples/train_home10.py in the repository makes it."""
    package = "audiotag_mobilenet_baseline"
    return BackboneSpec(
        name="home10",
        factory=_FACTORIES["mn"],
        summary="Ten household sounds; 0.8 MB, included in the plugin",
        family="mn",
        embedding_dim=embedding_size(_HOME10_OPTIONS["width_mult"]),
        labels=f"{package}:home10/classes.csv",
        num_classes=10,
        single_label=True,
        options=_HOME10_OPTIONS,
        weights=Weights(
            urls=(f"package:{package}/home10/home10.safetensors",),
            filename="home10.safetensors",
            sha256=_HOME10_SHA256,
            licence="MIT; trained on ESC-10 (CC BY 3.0), credits in home10/credits.csv",
            note="Every recording gets one of its ten classes, other sounds too; see home10/README.md.",
        ),
        citation=f"{_CITATIONS['mn']}; Piczak, ESC: Dataset for Environmental Sound Classification, ACM MM 2015",
        figures={"ESC-10 accuracy, folds 1 to 4": 0.9031, "parameters (M)": 0.192},
        **{**_COMMON, "clip_seconds": 5.0},
    )


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """Three families, the AudioSet taggers, the ImageNet networks to start from, `home10`, and event detectors."""
    return [
        _family("mn", "MobileNetV3-Large over a log-mel spectrogram, in any width"),
        *(_audioset(*row) for row in _AUDIOSET if row[0].startswith("mn")),
        *(_imagenet(*row) for row in _IMAGENET.items() if row[0].startswith("mn")),
        _family("dymn", "MobileNet with dynamic convolutions, activations and attention, in any width"),
        *(_audioset(*row) for row in _AUDIOSET if row[0].startswith("dymn")),
        *(_imagenet(*row) for row in _IMAGENET.items() if row[0].startswith("dymn")),
        _home10(),
        *fmn_backbones(),
    ]


_RECIPES = {
    "efficientat-audioset": "MobileNets on AudioSet, from ImageNet weights",
    "efficientat-esc50": "Fine-tuning on ESC-50, one class a clip",
    "efficientat-fsd50k": "Fine-tuning on FSD50K",
    "efficientat-dcase20": "Fine-tuning on the scenes of DCASE 2020, one class a clip",
    "efficientat-openmic": "Fine-tuning on OpenMIC",
    "efficientsed-audioset-strong": "Frame-wise MobileNets on AudioSet-strong, from weights of AudioSet",
}
"""Name, which is the file's too → what it is for."""


@hookimpl
def register_recipes() -> list[RecipeSpec]:
    """The authors' settings."""
    return [
        RecipeSpec(
            name=name,
            path=f"audiotag_mobilenet_baseline:recipes/{name}.toml",
            summary=summary,
            citation=EFFICIENT_SED_PAPER if name.startswith("efficientsed") else _CITATIONS["mn"],
        )
        for name, summary in _RECIPES.items()
    ]
