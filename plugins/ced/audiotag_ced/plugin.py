"""Descriptors of CED: the family, the published files of both origins, and how it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotag.plugin import BackboneSpec, RecipeSpec, Weights, hookimpl

AUDIOTAG_INTERFACE = 2

CITATION = (
    "Dinkel, Wang, Yan, Zhang, Wang, CED: Consistent ensemble distillation for audio tagging, ICASSP 2024 "
    "(arXiv 2308.11957)"
)

_COMMON: Mapping[str, Any] = {
    "factory": "audiotag_ced.backbone:CED",
    "family": "ced",
    "sample_rate": 16_000,
    "clip_seconds": 10.0,
    # One patch: shorter clips are repeated up to it.
    "min_seconds": 0.15,
    # Of the authors' code, from which nothing was taken.
    "licence": "GPL-3.0",
    "citation": CITATION,
    "recipe": "ced-finetune",
}
_AUDIOSET: Mapping[str, Any] = {
    **_COMMON,
    "labels": "audioset",
    "num_classes": 527,
    "frame_scores": "every 0.16 s, as if a clip were that frame alone",
}
_ZENODO = "https://zenodo.org/record/{}/files/{}?download=1"
_RECORDS = {"tiny": (8275347, 8275319), "mini": (8275347, 8275319), "small": (8275319,), "base": (8275347, 8275319)}
"""Size → Zenodo records said to hold its file: the README's, then the code's."""

# Size · width · parameters in millions · mAP on AudioSet, trained on all of it and on the balanced set · accuracy on
# ESC-50 by HEAR's rules.
_SIZES = (
    ("tiny", 192, 5.5, 0.481, 0.365, 0.958, "4814"),
    ("mini", 256, 9.7, 0.490, 0.385, 0.954, "4896"),
    ("small", 384, 21.6, 0.496, 0.416, 0.960, "4958"),
    ("base", 768, 85.7, 0.500, 0.440, 0.967, "4999"),
)


def _zenodo(file: str, *records: int) -> Weights:
    note = "The licence of the Zenodo record is not known; ced-tiny … ced-base are the same weights under Apache-2.0"
    return Weights(urls=tuple(_ZENODO.format(record, file) for record in records), filename=file, note=note)


def _published() -> list[BackboneSpec]:
    specs = []
    for size, width, millions, full, balanced, esc50, digits in _SIZES:
        figures = {
            "AudioSet mAP": full,
            "AudioSet mAP, balanced set": balanced,
            "ESC-50 accuracy (HEAR)": esc50,
            "parameters (M)": millions,
        }
        shared: dict[str, Any] = {"options": {"size": size}, "embedding_dim": width}
        specs += [
            BackboneSpec(
                name=f"ced-{size}",
                summary="AudioSet tagger, the file on Hugging Face",
                weights=Weights(
                    urls=(f"https://huggingface.co/mispeech/ced-{size}/resolve/main/model.safetensors",),
                    filename=f"ced-{size}.safetensors",
                    licence="Apache-2.0",
                ),
                figures=figures,
                **shared,
                **_AUDIOSET,
            ),
            BackboneSpec(
                name=f"ced_{size}_mAP_{digits}",
                summary="AudioSet tagger, the file on Zenodo",
                weights=_zenodo(f"audiotransformer_{size}_mAP_{digits}.pt", *_RECORDS[size]),
                figures=figures,
                **shared,
                **_AUDIOSET,
            ),
            BackboneSpec(
                name=f"ced_{size}_mae",
                summary="Masked autoencoder on AudioSet, from which CED started; new head",
                weights=_zenodo(f"audiotransformer_{size}_mae_as_10s.pt", 8275347),
                **shared,
                **_COMMON,
            ),
        ]
    return specs


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """The family, its sizes on Hugging Face and on Zenodo, what they started from, and one teacher."""
    return [
        BackboneSpec(name="ced", summary="Vision transformers over a 64-band log-mel spectrogram", **_COMMON),
        *_published(),
        BackboneSpec(
            name="ced_base_mAP_47_40",
            summary="AudioSet tagger, one of the teachers",
            weights=_zenodo("audiotransformer_base_mAP_47_40.pt", 7964975),
            options={"size": "base"},
            embedding_dim=768,
            figures={"AudioSet mAP": 0.474},
            **_AUDIOSET,
        ),
    ]


_RECIPES = {
    "ced-finetune": "What fine-tuning CED does by itself: rates, mixing and variation",
    "ced-audioset": "CED on the full set of AudioSet, taught by an ensemble",
    "ced-audioset-balanced": "CED on the balanced set of AudioSet, taught by an ensemble",
}
"""Name, which is the file's too → what it is for."""


@hookimpl
def register_recipes() -> list[RecipeSpec]:
    """The authors' settings."""
    return [
        RecipeSpec(name=name, path=f"audiotag_ced:recipes/{name}.toml", summary=summary, citation=CITATION)
        for name, summary in _RECIPES.items()
    ]
