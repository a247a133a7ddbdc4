"""What the core itself brings: timm's networks, losses, dataset formats, sampling policies.

All of it is registered through the hooks that every plugin uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from audiotag.data.sets.descriptors import PUBLISHED
from audiotag.models.timm_names import timm_backbones
from audiotag.specs import (
    BackboneSpec,
    DatasetSpec,
    LossSpec,
    MadeSpec,
    MetricSpec,
    OptimiserSpec,
    OutputSpec,
    SamplingPolicySpec,
    ScheduleSpec,
    SourceSpec,
    WriterSpec,
    hookimpl,
)

_Spec = TypeVar("_Spec", bound=MadeSpec)


def _maker(kind: type[_Spec], place: str) -> Callable[..., _Spec]:
    """Descriptors of *kind* from name, factory (in *place*), summary, and more by name."""

    def make(name: str, factory: str, summary: str, **more: Any) -> _Spec:
        return kind(name=name, factory=f"{place}{factory}", summary=summary, **more)

    return make


@hookimpl
def register_backbones() -> list[BackboneSpec]:
    """Image models of timm over a log-mel spectrogram: fresh, and started from ImageNet."""
    return timm_backbones()


@hookimpl
def register_datasets() -> list[DatasetSpec]:
    """Formats of labelled clips that users already have, and published data sets."""
    make = _maker(DatasetSpec, "audiotag.data.formats.")
    return [
        make(
            "json",
            "manifest:JsonManifest",
            '{"data": [{"wav": …, "labels": …}]}, as AudioSet trainers use it',
            extensions=(".json",),
        ),
        make(
            "csv",
            "table:CsvTable",
            "CSV with the columns path and labels (and fold, start, stop, video_path)",
            extensions=(".csv", ".tsv"),
        ),
        make("folder", "folder:ClassFolders", "One folder per class", extensions=("/",)),
        make(
            "events",
            "events:EventTable",
            "Table of sound events or weak labels, as DCASE, DESED, sed_eval and audiotag infer have it",
            extensions=(".tsv", ".csv", ".txt"),
        ),
        make(
            "audacity",
            "label_tracks:LabelTracks",
            "Audacity's label track beside each recording (onset, offset, label)",
            extensions=("/", ".txt", ".ann"),
        ),
        make(
            "raven",
            "raven:SelectionTables",
            "Raven's selection table, one or one beside each recording",
            extensions=("/", ".txt"),
        ),
        make(
            "hdf5",
            "hdf5:Hdf5Archive",
            "HDF5 file of MP3s (arrays audio_name, mp3, target)",
            extensions=(".hdf", ".hdf5", ".h5"),
        ),
        *PUBLISHED,
    ]


@hookimpl
def register_losses() -> list[LossSpec]:
    """Losses over class scores."""
    make = _maker(LossSpec, "audiotag.training.losses:")
    return [
        make("bce", "BinaryCrossEntropy", "Binary cross-entropy of each class (multi-label)", task="multilabel"),
        make("ce", "CrossEntropy", "Cross-entropy over classes (single-label)", task="singlelabel"),
        make(
            "focal",
            "FocalLoss",
            "Binary focal loss, for rare classes",
            task="multilabel",
            citation="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 (arXiv 1708.02002), eq. 4",
        ),
    ]


@hookimpl
def register_sampling_policies() -> list[SamplingPolicySpec]:
    """How the clips of a training epoch are chosen, and what a bounded store keeps."""
    make = _maker(SamplingPolicySpec, "audiotag.")
    return [
        make("shuffle", "training.samplers:Shuffle", "Every clip once, in random order", role="training"),
        make(
            "balanced",
            "training.samplers:Balanced",
            "Clips drawn by the rarity of their labels: weight = sum of 1000 / (count + offset)",
            role="training",
            citation="Gong, Chung, Glass, PSLA, TASLP 2021 (arXiv 2102.01243), section III-B",
        ),
        make(
            "reservoir",
            "continual.policies.reservoir:Reservoir",
            "Every clip ever offered is equally likely to be stored",
            role="storage",
            citation="Vitter, Random sampling with a reservoir, ACM TOMS 11(1), 1985, algorithm R",
        ),
        make(
            "class_balanced",
            "continual.policies.class_balanced:ClassBalanced",
            "Rare classes kept whole, the others in equal parts (CBRS)",
            role="storage",
            citation="Chrysakis and Moens, Online continual learning from imbalanced data, ICML 2020, algorithm 1",
        ),
        make(
            "partitioning",
            "continual.policies.partitioning:Partitioning",
            "The store divided among the classes of multi-label clips (PRS)",
            role="storage",
            citation="Kim, Jeong, Kim, Imbalanced continual learning with "
            "partitioning reservoir sampling, ECCV 2020 (arXiv 2009.03632)",
        ),
        make(
            "distribution_matching",
            "continual.policies.distribution_matching:DistributionMatching",
            "The store's classes in proportion to what was observed (the home system's rule)",
            role="storage",
        ),
        make(
            "herding",
            "continual.policies.herding:Herding",
            "Of each class the clips that keep its mean embedding; for on-line learning with a frozen backbone",
            role="storage",
            citation="Rebuffi, Kolesnikov, Sperl, Lampert, iCaRL, CVPR 2017 (arXiv 1611.07725), algorithm 4",
        ),
        make(
            "uncertainty",
            "continual.policies.uncertainty:Uncertainty",
            "Of each class clips from those the model is sure of to those it is not; for on-line learning",
            role="storage",
            citation="Bang, Kim, Yoo, Ha, Choi, Rainbow memory, CVPR 2021 (arXiv 2103.17230), section 4.1",
        ),
        make("fifo", "continual.policies.baselines:Fifo", "The newest clips", role="storage"),
        make("none", "continual.policies.baselines:Nothing", "Nothing is stored", role="storage"),
    ]


@hookimpl
def register_optimisers() -> list[OptimiserSpec]:
    """PyTorch's."""
    make = _maker(OptimiserSpec, "torch.optim:")
    return [
        make("adamw", "AdamW", "Adam with decoupled weight decay"),
        make("adam", "Adam", "Adam"),
        make("sgd", "SGD", "Gradient descent with momentum"),
    ]


@hookimpl
def register_schedules() -> list[ScheduleSpec]:
    """How the rate changes over a run."""
    make = _maker(ScheduleSpec, "audiotag.training.schedules:")
    return [
        make("cosine", "make_cosine", "Half a cosine down", shape={"initial_lr": 0.0, "final_lr": 0.01}),
        make(
            "onecycle",
            "make_one_cycle",
            "Half a cosine up, then down",
            shape={"initial_lr": 0.04, "final_lr": 4e-6},
            citation="Smith and Topin, Super-convergence, 2018 (arXiv 1708.07120)",
        ),
        make(
            "linear",
            "make_linear",
            "Exponential warm-up, flat, linear down, as EfficientAT trains",
            shape={"ramp_start": None, "ramp_length": None, "final_lr": 0.01},
        ),
        make(
            "step",
            "make_step",
            "Halved every few epochs, as PSLA trains",
            shape={"initial_lr": 0.0, "ramp_start": None, "step_every": 5.0},
        ),
        make("constant", "make_constant", "The same rate throughout", shape={"initial_lr": 0.0}),
    ]


@hookimpl
def register_metrics() -> list[MetricSpec]:
    """Metrics by which the best epoch is chosen."""
    make = _maker(MetricSpec, "audiotag.evaluation.metrics:")
    of_events = _maker(MetricSpec, "audiotag.evaluation.frame_metrics:")
    return [
        make("mAP", "mean_average_precision", "Mean average precision"),
        make("mAUC", "mean_roc_auc", "Mean area under the ROC curve"),
        make("accuracy", "accuracy", "Share of clips whose highest score is on their class", task="singlelabel"),
        of_events("psds1", "psds1", "Sound events that are localised well (PSDS1)", task="events"),
        of_events("psds2", "psds2", "Sound events that are not confused (PSDS2)", task="events"),
        of_events("event_f1", "event_f1", "F1 of sound events", task="events"),
        of_events("segment_f1", "segment_f1", "F1 of sound events in segments of a second", task="events"),
        of_events("intersection_f1", "intersection_f1", "F1 of sound events by intersection", task="events"),
    ]


@hookimpl
def register_writers() -> list[WriterSpec]:
    """Formats that users of audio taggers know."""
    make = _maker(WriterSpec, "audiotag.inference.writers.")
    return [
        make("table", "table:TableWriter", "A small table for people"),
        make("csv", "text:CsvWriter", "One row per detected class, for spreadsheets and pandas", endings=(".csv",)),
        make(
            "json",
            "text:JsonWriter",
            "One document with model, settings and the events of each recording",
            endings=(".json",),
        ),
        make("jsonl", "text:JsonLinesWriter", "One JSON object per detected class", endings=(".jsonl", ".ndjson")),
        make("tsv", "text:SedEvalWriter", "Event lists, as sed_eval and DCASE read them", endings=(".tsv",)),
        make("audacity", "text:AudacityWriter", "Labels of Audacity", end_to_end=True),
        make("raven", "text:RavenWriter", "A selection table of Raven", end_to_end=True),
        make(
            "parquet",
            "parquet:ParquetWriter",
            "The columns of the CSV, for databases and large outputs",
            endings=(".parquet",),
            magic=b"PAR1",
        ),
        make(
            "home",
            "text:HomeWriter",
            "The predictions of the home system, a line for each recording",
            times=False,
            least_score=0.5,
        ),
    ]


@hookimpl
def register_outputs() -> list[OutputSpec]:
    """What homes listen to."""
    make = _maker(OutputSpec, "audiotag.live.outputs.")
    return [
        make("mqtt", "mqtt:MqttDelivery", "A broker of MQTT, with discovery by Home Assistant"),
        make("webhook", "webhook:WebhookDelivery", "JSON posted to an address of HTTP"),
        make("exec", "command:CommandDelivery", "A command, run for each message"),
        make("lines", "lines:LinesOutput", "A file with a line of JSON for each message"),
    ]


@hookimpl
def register_sources() -> list[SourceSpec]:
    """What a device hears."""
    make = _maker(SourceSpec, "audiotag.live.sources.")
    return [
        make("mic", "microphone:Microphone", "A microphone, by a part of its name or its number"),
        make(
            "url",
            "streams:UrlStream",
            "A stream of a camera or a radio station",
            schemes=("rtsp", "rtsps", "http", "https"),
        ),
        make("stdin", "pcm:RawStream", "Raw samples on the standard input: -"),
        make("file", "files:FileStream", "A recording, heard from its beginning to its end"),
        make("folder", "files:WatchedFolder", "A folder that recorders drop files into"),
    ]
