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
    "clips_without_events": ("Clips without events", "clips in which nothing is heard; false alarms count there"),
    "hours": ("Hours", "length of all clips"),
    "classes_with_events": ("Classes with events", "classes that have a true event; the others count in no mean"),
    "events": ("True events", "those of a class that overlap or touch are one"),
    "detections": ("Detections", "of classes that have a true event"),
    "detections_of_classes_without_events": ("Detections of other classes", "in no other number"),
    "psds1": ("PSDS1", "events found against false alarms, over all thresholds: how well events are localised"),
    "psds2": ("PSDS2", "the same, lenient on times: how well classes are told apart"),
    "mean_class_psds1": ("mean of class PSDS1", "as published for AudioSet-strong"),
    "event_macro_f1": ("Event F1 (macro)", "onset and offset within the collars; mean over classes"),
    "event_micro_f1": ("Event F1 (micro)", "the same, of all events together"),
    "event_error_rate": ("Event error rate", "substitutions, deletions and insertions for each true event"),
    "onset_macro_f1": ("Onset F1 (macro)", "onset within its collar; mean over classes"),
    "onset_micro_f1": ("Onset F1 (micro)", "the same, of all events together"),
    "segment_macro_f1": ("Segment F1 (macro)", "heard or not, segment by segment; mean over classes"),
    "segment_micro_f1": ("Segment F1 (micro)", "the same, of all segments together"),
    "segment_error_rate": (
        "Segment error rate",
        "the same for each segment in which a class is heard",
    ),
    "intersection_macro_f1": (
        "Intersection F1 (macro)",
        "detections and events overlap enough; mean over classes",
    ),
    "intersection_micro_f1": ("Intersection F1 (micro)", "the same, of all events together"),
    "segment_auroc": ("Partial AUROC", "of segments, up to a false positive rate of 0.1; mean over classes"),
    "best_event_f1": ("Best event F1", "with the best threshold of each class on these very clips; mean over classes"),
    "best_segment_f1": ("Best segment F1", "the same, of segments"),
    "best_intersection_f1": ("Best intersection F1", "the same, of intersections"),
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
