"""Descriptors of ConvNeXt-Tiny: the family, its published checkpoints, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotag.plugin import BackboneSpec, RecipeSpec, Weights, hookimpl

AUDIOTAG_INTERFACE = 2

CITATION = (
    "Pellegrini, Khalfaoui-Hassani, Labbé, Masquelier, Adapting a ConvNeXt model to audio classification on AudioSet, "
    "Interspeech 2023 (arXiv 2306.00830)"
)

_COMMON: Mapping[str, Any] = {
    "factory": "audiotag_convnext.backbone:ConvNeXt",
    "family": "convnext_tiny",
    "sample_rate": 32_000,
    "clip_seconds": 10.0,
    # One hop of the front end: shorter clips are padded to ten seconds, never repeated.
    "min_seconds": 0.01,
    # A little more than it was trained on, so that a clip of ten seconds and a bit goes through in one pass.
    "max_seconds": 12.0,
    "embedding_dim": 768,
    "licence": "MIT",
    "citation": CITATION,
    "frame_scores": "every 0.32 s, as if a clip were that frame alone",
}
_AUDIOSET: Mapping[str, Any] = {**_COMMON, "labels": "audioset", "num_classes": 527}
_ZENODO = "https://zenodo.org/records/8020843/files/"
_FIGURES = {"AudioSet mAP": 0.471, "AudioSet AUC": 0.973, "AudioSet d' (mean of classes)": 3.071}


def _zenodo(file: str) -> Weights:
    return Weights(urls=(f"{_ZENODO}{file}?download=1",), filename=file, licence="MIT")


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """The family, two checkpoints on Zenodo, and the first of them on Hugging Face."""
    return [
        BackboneSpec(
            name="convnext_tiny",
            summary="ConvNeXt-Tiny over a 224-band log-mel spectrogram",
            **_COMMON,
        ),
        BackboneSpec(
            name="convnext_tiny_471mAP",
            summary="AudioSet tagger",
            weights=_zenodo("convnext_tiny_471mAP.pth"),
            figures={**_FIGURES, "parameters (M)": 28.2},
            **_AUDIOSET,
        ),
        BackboneSpec(
            name="convnext_tiny_465mAP_BL_AC_70kit",
            summary="AudioSet tagger, trained without the clips of AudioCaps",
            weights=_zenodo("convnext_tiny_465mAP_BL_AC_70kit.pth"),
            figures={"AudioSet mAP": 0.465},
            **_AUDIOSET,
        ),
        BackboneSpec(
            name="ConvNeXt-Tiny-AT",
            summary="AudioSet tagger, the file on Hugging Face",
            weights=Weights(
                urls=("hf:topel/ConvNeXt-Tiny-AT/model.safetensors",),
                filename="ConvNeXt-Tiny-AT.safetensors",
                licence="MIT",
                note="The file lies on Hugging Face; fetching it needs huggingface_hub "
                "(pip install 'audiotag-convnext[hub]')",
                fetcher="audiotag_convnext.hub:fetch",
            ),
            figures=_FIGURES,
            **_AUDIOSET,
        ),
    ]


@hookimpl
def register_recipes() -> list[RecipeSpec]:
    """The authors' settings on AudioSet."""
    return [
        RecipeSpec(
            name="convnext-audioset",
            path="audiotag_convnext:recipes/convnext-audioset.toml",
            summary="ConvNeXt-Tiny on AudioSet",
            citation=CITATION,
        )
    ]
