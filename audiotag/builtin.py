"""The core's own losses, dataset formats and sampling policies, registered through the hooks that every plugin uses."""

from __future__ import annotations

from audiotag.plugin import DatasetSpec, LossSpec, SamplingPolicySpec, hookimpl


@hookimpl
def register_datasets() -> list[DatasetSpec]:
    """Formats of labelled clips that users already have."""
    return [
        DatasetSpec(
            name="json",
            factory="audiotag.data.formats.manifest:JsonManifest",
            summary='{"data": [{"wav": …, "labels": …}]}, as AudioSet trainers use it',
            extensions=(".json",),
        ),
        DatasetSpec(
            name="esc50",
            factory="audiotag.data.formats.esc50:Esc50",
            summary="ESC-50 style CSV (filename, fold, target, category) with a folder of audio",
            extensions=(".csv",),
        ),
        DatasetSpec(
            name="csv",
            factory="audiotag.data.formats.table:CsvTable",
            summary="CSV with the columns path and labels (and fold, start, stop, video_path)",
            extensions=(".csv",),
        ),
        DatasetSpec(
            name="folder",
            factory="audiotag.data.formats.folder:ClassFolders",
            summary="One folder per class",
            extensions=("/",),
        ),
    ]


@hookimpl
def register_losses() -> list[LossSpec]:
    """Losses over class scores."""
    return [
        LossSpec(
            name="bce",
            factory="audiotag.training.losses:BinaryCrossEntropy",
            summary="Binary cross-entropy of each class (multi-label)",
            task="multilabel",
        ),
        LossSpec(
            name="ce",
            factory="audiotag.training.losses:CrossEntropy",
            summary="Cross-entropy over classes (single-label)",
            task="singlelabel",
        ),
        LossSpec(
            name="focal",
            factory="audiotag.training.losses:FocalLoss",
            summary="Binary focal loss, for rare classes",
            task="multilabel",
            citation="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 (arXiv 1708.02002), eq. 4",
        ),
    ]


@hookimpl
def register_sampling_policies() -> list[SamplingPolicySpec]:
    """How the clips of a training epoch are chosen."""
    return [
        SamplingPolicySpec(
            name="shuffle",
            factory="audiotag.training.samplers:Shuffle",
            role="training",
            summary="Every clip once, in random order",
        ),
        SamplingPolicySpec(
            name="balanced",
            factory="audiotag.training.samplers:Balanced",
            role="training",
            summary="Clips drawn by the rarity of their labels: weight = sum of 1000 / (count + offset)",
            citation="Gong, Chung, Glass, PSLA, TASLP 2021 (arXiv 2102.01243), section III-B",
        ),
    ]
