"""What the numbers of a summary are called and mean, in a few words; ``docs/metrics.md`` says it in full."""

from __future__ import annotations

import math
import re

from audiotag.host import get_host

_METRICS = {
    "clips": ("Clips", "clips that were measured on"),
    "failed_clips": ("Failed clips", "clips that could not be read; they count nowhere"),
    "classes": ("Classes", "classes the model knows"),
    "classes_with_positives": ("Classes with positives", "classes that a clip has; the others count in no mean"),
    "unknown_labels": ("Unknown labels", "labels of which nobody has said whether they are right; in no number"),
    "accuracy": ("Accuracy", "share of clips whose highest score is on their class"),
    "mAP": ("mAP", "mean over classes of average precision"),
    "mAUC": ("mAUC", "mean over classes of the area under the ROC curve"),
    "d_prime_of_mean_auc": ("d′ of mean AUC", "√2 · Φ⁻¹(mAUC), as PSLA and EquiAV report it"),
    "mean_of_class_d_primes": ("mean of class d′", "mean of √2 · Φ⁻¹(AUC), as PANNs and ConvNeXt report it"),
    "micro_precision": ("Precision (micro)", "share of decisions that are right"),
    "micro_recall": ("Recall (micro)", "share of labels that are found"),
    "micro_f1": ("F1 (micro)", "harmonic mean of micro precision and micro recall"),
    "macro_precision": ("Precision (macro)", "mean over classes of precision"),
    "macro_recall": ("Recall (macro)", "mean over classes of recall"),
    "macro_f1": ("F1 (macro)", "mean over classes of F1"),
    "ece": ("ECE", "expected calibration error: mean distance of scores from the share that is right, in 15 bins"),
    "classwise_ece": ("classwise ECE", "mean over classes of the calibration error of their scores"),
    "detections_of_classes_without_positives": (
        "Detections of other classes",
        "decisions for classes that no clip has; in no other number",
    ),
}


def title(metric: str) -> str:
    """How people read the name of a number in `Evaluation.summary`."""
    if match := re.fullmatch(r"top_(\d+)_accuracy", metric):
        return f"Top-{match[1]} accuracy"
    if metric in _METRICS:
        return _METRICS[metric][0]
    spec = get_host().metrics.get(metric)
    return metric.replace("_", " ") if spec is None else spec.title or spec.name


def meaning(metric: str) -> str:
    """What it is; empty for a name that is not known."""
    if match := re.fullmatch(r"top_(\d+)_accuracy", metric):
        return f"share of clips that have one of their classes among the {match[1]} highest scores"
    if metric in _METRICS:
        return _METRICS[metric][1]
    spec = get_host().metrics.get(metric)
    return "" if spec is None else spec.summary


def shown(value: float | int, decimals: int = 4) -> str:
    """A number as people read it: whole, or with *decimals*; – where it is not defined."""
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        return f"{value:.{decimals}f}"
    return str(value)
