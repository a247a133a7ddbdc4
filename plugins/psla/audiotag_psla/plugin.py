"""Descriptors of PSLA: the family, the published checkpoints, and the ImageNet weights that they started from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotag.plugin import BackboneSpec, RecipeSpec, Weights, hookimpl

AUDIOTAG_INTERFACE = 2

CITATION = (
    "Gong, Chung, Glass, PSLA: Improving Audio Tagging with Pretraining, Sampling, Labeling, and Aggregation, "
    "TASLP 2021 (arXiv 2102.01243)"
)
IMAGENET_CITATION = (
    "Tan, Le, EfficientNet, ICML 2019 (arXiv 1905.11946); Cubuk et al., AutoAugment, CVPR 2019 (arXiv 1805.09501)"
)

_COMMON: Mapping[str, Any] = {
    "factory": "audiotag_psla.backbone:PSLA",
    "family": "psla",
    "sample_rate": 16_000,
    "clip_seconds": 10.0,
    # One frame of the front end: shorter clips of PSLA are padded, never repeated.
    "min_seconds": 0.025,
    "licence": "BSD-3-Clause",
    "frame_scores": "every 0.32 s, by the head's scores of each frame, without its attention over time",
}
_AUDIOSET_SECONDS = 10.56
_FSD50K_SECONDS = 30.0

_NOTE = (
    "The authors shared this file through Dropbox, whose links are not reliable any more; their page, "
    "https://github.com/YuanGongND/psla, may have newer ones, and --weights FILE takes a file that you have"
)
_DROPBOX = "https://www.dropbox.com"
_THREE_RUNS = f"zip+{_DROPBOX}/sh/c83w8816vl6yhty/AADjoO9irfP1RCr-qyZMJg_-a?dl=1"
_TEN_MODELS = f"zip+{_DROPBOX}/sh/ihfbxcemxamihz9/AAD9zqnUptZzyZlquqpWllDya?dl=1"

# File without ".pth" · where it was shared by itself · folders that held it · mAP on AudioSet's evaluation set.
_AUDIOSET: tuple[tuple[str, str | None, tuple[str, ...], float], ...] = (
    ("as_mdl_0", "s/d1z27wj30ew5qrs", (_THREE_RUNS, _TEN_MODELS), 0.440),
    ("as_mdl_1", None, (_THREE_RUNS, _TEN_MODELS), 0.440),
    ("as_mdl_2", None, (_THREE_RUNS, _TEN_MODELS), 0.439),
    ("as_mdl_3", None, (_TEN_MODELS,), 0.441),
    ("as_mdl_4", None, (_TEN_MODELS,), 0.440),
    ("as_mdl_5", None, (_TEN_MODELS,), 0.439),
    ("as_mdl_6", None, (_TEN_MODELS,), 0.394),
    ("as_mdl_7", None, (_TEN_MODELS,), 0.371),
    ("as_mdl_8", None, (_TEN_MODELS,), 0.427),
    ("as_mdl_9", None, (_TEN_MODELS,), 0.372),
    ("as_mdl_0_wa", "s/ieggie0ara4x26d", (), 0.444),
)

# The same on FSD50K's evaluation set.
_FSD50K: tuple[tuple[str, str | None, tuple[str, ...], float], ...] = (
    ("fsd_mdl_best_single", "s/stzrmfty2oyqnnj", (), 0.559),
    ("fsd_mdl_wa", "s/5fvybrbulvhsish", (), 0.562),
)

_TIMM = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/"

# Variant · channels of its last map · timm's file, whose name ends with the first eight digits of its sha256.
_IMAGENET: tuple[tuple[str, int, str], ...] = (
    ("b0", 1280, "tf_efficientnet_b0_aa-827b6e33.pth"),
    ("b1", 1280, "tf_efficientnet_b1_aa-ea7a6ee0.pth"),
    ("b2", 1408, "tf_efficientnet_b2_aa-60c94f97.pth"),
    ("b3", 1536, "tf_efficientnet_b3_aa-84b4657e.pth"),
    ("b4", 1792, "tf_efficientnet_b4_aa-818f208c.pth"),
    ("b5", 2048, "tf_efficientnet_b5_aa-99018a74.pth"),
    ("b6", 2304, "tf_efficientnet_b6_aa-80ba17e4.pth"),
    ("b7", 2560, "tf_efficientnet_b7_aa-076e3472.pth"),
)


def _weights(file: str, single: str | None, folders: tuple[str, ...]) -> Weights:
    filename = f"{file}.pth"
    addresses = [] if single is None else [f"{_DROPBOX}/{single}/{filename}?dl=1"]
    return Weights(
        urls=(*addresses, *(f"{folder}#{filename}" for folder in folders)),
        filename=f"psla_{filename}",
        licence="BSD-3-Clause",
        note=_NOTE,
        fetcher="audiotag_psla.archives:fetch" if folders else None,
    )


def _tagger(
    data: str, what: str, file: str, single: str | None, folders: tuple[str, ...], mean_ap: float
) -> BackboneSpec:
    audioset = data == "AudioSet"
    options: dict[str, Any] = {"variant": "b2", "attention_heads": 4}
    averaged = ", weights averaged over the last epochs" if file.endswith("_wa") else what
    return BackboneSpec(
        name=f"psla.{file}",
        summary=f"{data} tagger, EfficientNet-B2{averaged}",
        max_seconds=_AUDIOSET_SECONDS if audioset else _FSD50K_SECONDS,
        embedding_dim=1408,
        labels=data.lower(),
        num_classes=527 if audioset else 200,
        options=options if audioset else {**options, "target_length": 3000},
        weights=_weights(file, single, folders),
        citation=CITATION,
        figures={f"{data} mAP": mean_ap, **({"parameters (M)": 13.6} if audioset else {})},
        **_COMMON,
    )


def _imagenet(variant: str, channels: int, file: str) -> BackboneSpec:
    return BackboneSpec(
        name=f"psla.{variant}_imagenet",
        summary=f"ImageNet weights, EfficientNet-{variant.upper()}",
        max_seconds=_AUDIOSET_SECONDS,
        embedding_dim=channels,
        options={"variant": variant},
        weights=Weights(urls=(f"{_TIMM}{file}",), filename=file, licence="Apache-2.0"),
        citation=IMAGENET_CITATION,
        **_COMMON,
    )


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """The family, the published taggers, and the ImageNet weights to start from."""
    return [
        BackboneSpec(
            name="psla",
            summary="EfficientNet-B0 to B7 with attention pooling over time",
            max_seconds=_AUDIOSET_SECONDS,
            citation=CITATION,
            **_COMMON,
        ),
        *(_tagger("AudioSet", "", *row) for row in _AUDIOSET),
        *(_tagger("FSD50K", ", the best epoch", *row) for row in _FSD50K),
        *(_imagenet(*row) for row in _IMAGENET),
    ]


_RECIPES: tuple[tuple[str, str], ...] = (
    ("psla-audioset-balanced", "PSLA on the balanced set of AudioSet, epochs 41-60 averaged"),
    ("psla-audioset-full", "PSLA on the full set of AudioSet, epochs 16-30 averaged"),
    ("psla-fsd50k", "PSLA on FSD50K, epochs 21-40 averaged"),
)
"""Name, which is the file's too · what it is for."""


@hookimpl
def register_recipes() -> list[RecipeSpec]:
    """The authors' settings."""
    return [
        RecipeSpec(name=name, path=f"audiotag_psla:recipes/{name}.toml", summary=summary, citation=CITATION)
        for name, summary in _RECIPES
    ]
