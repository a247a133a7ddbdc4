"""What the core itself brings: timm's networks, losses, dataset formats, sampling policies.

All of it is registered through the hooks that every plugin uses.
"""

from __future__ import annotations

from audiotag.data.sets.descriptors import PUBLISHED
from audiotag.models.timm_names import timm_backbones
from audiotag.specs import (
    BackboneSpec,
    DatasetSpec,
    LossSpec,
    MetricSpec,
    OptimiserSpec,
    SamplingPolicySpec,
    ScheduleSpec,
    WriterSpec,
    hookimpl,
)


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """Image models of timm over a log-mel spectrogram: fresh, and started from ImageNet."""
    return timm_backbones()


@hookimpl
def register_datasets() -> list[DatasetSpec]:
    """Formats of labelled clips that users already have, and published data sets."""
    return [
        DatasetSpec(
            name="json",
            factory="audiotag.data.formats.manifest:JsonManifest",
            summary='{"data": [{"wav": …, "labels": …}]}, as AudioSet trainers use it',
            extensions=(".json",),
        ),
        DatasetSpec(
            name="csv",
            factory="audiotag.data.formats.table:CsvTable",
            summary="CSV with the columns path and labels (and fold, start, stop, video_path)",
            extensions=(".csv", ".tsv"),
        ),
        DatasetSpec(
            name="folder",
            factory="audiotag.data.formats.folder:ClassFolders",
            summary="One folder per class",
            extensions=("/",),
        ),
        DatasetSpec(
            name="events",
            factory="audiotag.data.formats.events:EventTable",
            summary="TSV of sound events or weak labels, as DCASE, DESED and sed_eval have it",
            extensions=(".tsv",),
        ),
        DatasetSpec(
            name="hdf5",
            factory="audiotag.data.formats.hdf5:Hdf5Archive",
            summary="HDF5 file of MP3s (arrays audio_name, mp3, target)",
            extensions=(".hdf", ".hdf5", ".h5"),
        ),
        *PUBLISHED,
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
    """How the clips of a training epoch are chosen, and what a bounded store keeps."""
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
        SamplingPolicySpec(
            name="reservoir",
            factory="audiotag.continual.policies.reservoir:Reservoir",
            role="storage",
            summary="Every clip ever offered is equally likely to be stored",
            citation="Vitter, Random sampling with a reservoir, ACM TOMS 11(1), 1985, algorithm R",
        ),
        SamplingPolicySpec(
            name="class_balanced",
            factory="audiotag.continual.policies.class_balanced:ClassBalanced",
            role="storage",
            summary="Rare classes kept whole, the others in equal parts (CBRS)",
            citation="Chrysakis and Moens, Online continual learning from imbalanced data, ICML 2020, algorithm 1",
        ),
        SamplingPolicySpec(
            name="partitioning",
            factory="audiotag.continual.policies.partitioning:Partitioning",
            role="storage",
            summary="The store divided among the classes of multi-label clips (PRS)",
            citation="Kim, Jeong, Kim, Imbalanced continual learning with "
            "partitioning reservoir sampling, ECCV 2020 (arXiv 2009.03632)",
        ),
        SamplingPolicySpec(
            name="distribution_matching",
            factory="audiotag.continual.policies.distribution_matching:DistributionMatching",
            role="storage",
            summary="The store's classes in proportion to what was observed (the home system's rule)",
        ),
        SamplingPolicySpec(
            name="herding",
            factory="audiotag.continual.policies.herding:Herding",
            role="storage",
            summary="Of each class the clips that keep its mean embedding; for on-line learning with a frozen backbone",
            citation="Rebuffi, Kolesnikov, Sperl, Lampert, iCaRL, CVPR 2017 (arXiv 1611.07725), algorithm 4",
        ),
        SamplingPolicySpec(
            name="fifo",
            factory="audiotag.continual.policies.baselines:Fifo",
            role="storage",
            summary="The newest clips",
        ),
        SamplingPolicySpec(
            name="none",
            factory="audiotag.continual.policies.baselines:Nothing",
            role="storage",
            summary="Nothing is stored",
        ),
    ]


@hookimpl
def register_optimisers() -> list[OptimiserSpec]:
    """PyTorch's."""
    return [
        OptimiserSpec(name="adamw", factory="torch.optim:AdamW", summary="Adam with decoupled decay of weights"),
        OptimiserSpec(name="adam", factory="torch.optim:Adam", summary="Adam"),
        OptimiserSpec(name="sgd", factory="torch.optim:SGD", summary="Gradient descent with momentum"),
    ]


@hookimpl
def register_schedules() -> list[ScheduleSpec]:
    """How the rate changes over a run."""
    schedules = "audiotag.training.schedules:"
    return [
        ScheduleSpec(
            name="cosine",
            factory=f"{schedules}make_cosine",
            summary="Half a cosine down",
            shape={"initial_lr": 0.0, "final_lr": 0.01},
        ),
        ScheduleSpec(
            name="onecycle",
            factory=f"{schedules}make_one_cycle",
            summary="Half a cosine up, then down",
            shape={"initial_lr": 0.04, "final_lr": 4e-6},
            citation="Smith and Topin, Super-convergence, 2018 (arXiv 1708.07120)",
        ),
        ScheduleSpec(
            name="linear",
            factory=f"{schedules}make_linear",
            summary="Exponential warm-up, flat, linear down, as EfficientAT trains",
            shape={"ramp_start": None, "ramp_length": None, "final_lr": 0.01},
        ),
        ScheduleSpec(
            name="step",
            factory=f"{schedules}make_step",
            summary="Halved every few epochs, as PSLA trains",
            shape={"initial_lr": 0.0, "ramp_start": None, "step_every": 5.0},
        ),
        ScheduleSpec(
            name="constant",
            factory=f"{schedules}make_constant",
            summary="The same rate throughout",
            shape={"initial_lr": 0.0},
        ),
    ]


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Metrics by which the best epoch is chosen."""
    metrics = "audiotag.evaluation.metrics:"
    return [
        MetricSpec(name="mAP", factory=f"{metrics}mean_average_precision", summary="Mean average precision"),
        MetricSpec(name="mAUC", factory=f"{metrics}mean_roc_auc", summary="Mean area under the ROC curve"),
        MetricSpec(
            name="accuracy",
            factory=f"{metrics}accuracy",
            summary="Share of clips whose highest score is on their class",
            task="singlelabel",
        ),
    ]


@hookimpl
def register_writers() -> list[WriterSpec]:
    """Formats that users of audio taggers know."""
    text = "audiotag.inference.writers.text:"
    return [
        WriterSpec(
            name="table", factory="audiotag.inference.writers.table:TableWriter", summary="A small table for people"
        ),
        WriterSpec(
            name="csv",
            factory=f"{text}CsvWriter",
            summary="A line for each class heard, for spreadsheets and pandas",
            endings=(".csv",),
        ),
        WriterSpec(
            name="json",
            factory=f"{text}JsonWriter",
            summary="One document: what made it, and every recording with what is heard in it",
            endings=(".json",),
        ),
        WriterSpec(
            name="jsonl",
            factory=f"{text}JsonLinesWriter",
            summary="A JSON object for each class heard",
            endings=(".jsonl", ".ndjson"),
        ),
        WriterSpec(
            name="tsv",
            factory=f"{text}SedEvalWriter",
            summary="Event lists, as sed_eval and DCASE read them",
            endings=(".tsv",),
        ),
        WriterSpec(name="audacity", factory=f"{text}AudacityWriter", summary="Labels of Audacity", end_to_end=True),
        WriterSpec(name="raven", factory=f"{text}RavenWriter", summary="A selection table of Raven", end_to_end=True),
        WriterSpec(
            name="parquet",
            factory="audiotag.inference.writers.parquet:ParquetWriter",
            summary="The columns of the CSV, for databases and large outputs",
            endings=(".parquet",),
            magic=b"PAR1",
        ),
        WriterSpec(
            name="home",
            factory=f"{text}HomeWriter",
            summary="The predictions of the home system, a line for each recording",
            times=False,
            least_score=0.5,
        ),
    ]
