"""Descriptors of EquiAV: networks, losses of pre-training, commands."""

from __future__ import annotations

from audiotag.plugin import BackboneSpec, CommandSpec, LossSpec, RecipeSpec, Weights, hookimpl

AUDIOTAG_INTERFACE = 2

CITATION = (
    "Kim et al., EquiAV: Leveraging Equivariance for Audio-Visual Contrastive Learning, ICML 2024 (arXiv 2403.09502)"
)
MAE_CITATION = "He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022 (arXiv 2111.06377)"

_DRIVE_NOTE = "The file lies on Google Drive; fetching it needs gdown (pip install 'audiotag-equiav[drive]')"


def _spec(name: str, summary: str, **fields: object) -> BackboneSpec:
    return BackboneSpec(
        **{
            "name": name,
            "summary": summary,
            "factory": "audiotag_equiav.backbone:EquiAV",
            "family": "equiav",
            "sample_rate": 16_000,
            "clip_seconds": 10.0,
            # One frame of the front end: shorter clips of EquiAV are padded, never repeated.
            "min_seconds": 0.025,
            "max_seconds": 10.24,
            "licence": "MIT",
            "citation": CITATION,
            "recipe": "equiav-finetune",
            **fields,
        }  # type: ignore[arg-type]
    )


def _drive(identity: str, filename: str, licence: str = "MIT") -> Weights:
    return Weights(
        urls=(f"gdrive:{identity}",),
        filename=filename,
        licence=licence,
        note=_DRIVE_NOTE,
        fetcher="audiotag_equiav.drive:fetch",
    )


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """The family, and the published weights that it can start from."""
    return [
        _spec("equiav", "Two ViT-B/16 branches for sound and pictures; mode audio_only, video_only or multimodal"),
        _spec(
            "equiav.pretrained",
            "EquiAV after audio-visual pre-training; new head",
            weights=_drive("1QCvBcu-CAXFLKqfk0G7niO2JO5kf74K6", "equiav_pretrained.pth"),
        ),
        _spec(
            "equiav.home21",
            "EquiAV of the home system: 21 household sounds, sound only",
            embedding_dim=512,
            labels="home",
            num_classes=21,
            options={"mode": "audio_only", "head": "linear"},
            frame_scores="every 0.16 s, by the mean of the patches at that time",
            weights=_drive("13qiy-7yPHrcXIUGo8Kv9l8gYnR842uVU", "equiav_home21.pth", licence="unknown"),
        ),
        _spec(
            "mae_vit_base",
            "EquiAV's branches from MAE's ViT-B/16 (ImageNet, self-supervised); the rest is untrained",
            weights=Weights(
                urls=("https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth",),
                filename="mae_pretrain_vit_base.pth",
                licence="CC-BY-NC-4.0",
            ),
            citation=MAE_CITATION,
        ),
    ]


@hookimpl
def register_losses() -> list[LossSpec]:
    """Losses between pairs of embeddings."""
    return [
        LossSpec(
            name="infonce",
            factory="audiotag_equiav.losses:InfoNCE",
            summary="Symmetric InfoNCE between two views of each clip",
            task="embedding",
            citation="van den Oord et al., 2018 (arXiv 1807.03748), eq. 4; " + CITATION,
        ),
        LossSpec(
            name="ntxent",
            factory="audiotag_equiav.losses:NTXent",
            summary="SimCLR's normalised temperature-scaled cross-entropy",
            task="embedding",
            citation="Chen et al., SimCLR, ICML 2020 (arXiv 2002.05709), eq. 1",
        ),
    ]


_RECIPES = {
    "equiav-finetune": "What fine-tuning EquiAV does by itself: rates and variation",
    "equiav": "EquiAV on multi-label clips: AudioSet's statistics, binary cross-entropy",
    "equiav-vggsound": "EquiAV on single-label clips: VGGSound's statistics, cross-entropy",
}
"""Name, which is the file's too → what it is for."""


@hookimpl
def register_recipes() -> list[RecipeSpec]:
    """The authors' settings for fine-tuning."""
    return [
        RecipeSpec(name=name, path=f"audiotag_equiav:recipes/{name}.toml", summary=summary, citation=CITATION)
        for name, summary in _RECIPES.items()
    ]


_COMMANDS = {
    "pretrain": "Learn from clips with sound and pictures, without labels.",
    "retrieve": "Find the picture of each sound and the sound of each picture.",
    "demo": "Pre-train and retrieve on a small synthetic set: tones paired with colours.",
    "create": "Write an untrained checkpoint in the published format, to try things with.",
}


@hookimpl
def register_commands() -> list[CommandSpec]:
    """``audiotag x equiav …``."""
    return [
        CommandSpec(group="equiav", name=name, factory=f"audiotag_equiav.cli:{name}", summary=summary)
        for name, summary in _COMMANDS.items()
    ]
