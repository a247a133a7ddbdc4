"""The names that users of the home system know: its scripts run with their import lines changed.

``from audiotag_equiav.home import *`` brings `os`, `sys` and `time` as well, as the original's module did.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audiotag.plugin import (
    Label,
    LabelSet,
    LogMelFrontEnd,
    Model,
    OptionError,
    Tagger,
    choose_device,
    csv_text,
    get_host,
    load_model,
    read_audio,
    real_number,
    store_audio_decision,
    write_text,
)
from audiotag_equiav.backbone import SAMPLE_RATE, EquiAV, make_front_end
from audiotag_equiav.home_training import (
    EquiAV_ft,
    ModelTrainer,
    WrappedModel,
    format_label_data,
    format_model_input,
)

if TYPE_CHECKING:
    import pandas

__all__ = [
    "EquiAV_ft",
    "ModelTrainer",
    "WrappedModel",
    "audio_event_classification",
    "format_label_data",
    "format_model_input",
    "load_audio_model",
    "os",
    "store_audio_decision",
    "sys",
    "time",
    "write_predictions",
]

THRESHOLD = 0.5


def load_audio_model(
    class_indices_path: str | Path,
    weights_path: str | Path,
    device: str = "cpu",
    head_type: Literal["linear", "mlp"] = "linear",
    modality_mode: Literal["audio_only", "video_only", "multimodal"] = "audio_only",
    num_mel_bins: int = 128,
    *,
    options: Mapping[str, Any] | None = None,
) -> tuple[EquiAV, pandas.DataFrame]:
    """Load a fine-tuned EquiAV.

    Args:
        class_indices_path: ``class_labels_indices.csv`` (``index,mid,display_name``), rows in any order.
        weights_path: The published file, or a checkpoint of ours.
        device: Where the network goes; ``gpu`` is the first GPU.
        head_type: Kind of head in the file.
        modality_mode: ``audio_only``, ``video_only`` or ``multimodal``.
        num_mel_bins: Mel bands the file was trained with.
        options: More options of the network, such as the sizes of a small one.

    Returns:
        The network in evaluation mode, and its classes by index: columns ``index``, ``mid``, ``display_name``.

    Raises:
        LabelError: The class list is wrong, or has another number of classes than the file.
        CheckpointError: The file cannot be read or does not fit; the message names what is missing.
        OptionError: An option cannot be, or there is no *device*.
    """
    import pandas

    place = choose_device("cuda" if device == "gpu" else device)
    labels = LabelSet.from_csv(class_indices_path)
    settings = {"mode": modality_mode, "head": head_type, "num_mel_bins": num_mel_bins, **(options or {})}
    folder = Path(weights_path).is_dir()
    model = load_model("equiav", weights=weights_path, labels=labels, options=None if folder else settings)
    frame = pandas.DataFrame(
        {"index": range(len(labels)), "mid": list(labels.mids), "display_name": list(labels.names)}
    )
    backbone = model.backbone
    assert isinstance(backbone, EquiAV)  # the family's factory is that class
    return backbone.to(place).eval(), frame


def audio_event_classification(
    wav_files: Mapping[str, str | Path],
    model: EquiAV,
    labels: pandas.DataFrame,
    target_length: int | None = None,
    num_mel_bins: int | None = None,
    norm_mean: float | None = None,
    norm_std: float | None = None,
    *,
    threshold: float = THRESHOLD,
    report: Callable[[str], Any] | None = print,
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Name what is heard in recordings.

    Args:
        wav_files: Name → recording, of any length, rate and channel count.
        model: From `load_audio_model`.
        labels: From `load_audio_model`.
        target_length: Frames of a spectrogram (1024); this and the next three are the network's own where left out.
        num_mel_bins: Mel bands (128).
        norm_mean: Mean of the log-mel energies (−4.346).
        norm_std: Their deviation (4.332).
        threshold: Probability above which a class counts as heard.
        report: Told the average time at the end; None for silence.

    Returns:
        Name → display names above *threshold* by index, and name → seconds that reading and tagging took.

    Raises:
        AudioError: A recording cannot be read; the message names it.
        OptionError: The network has other frames or bands, takes pictures, or *threshold* is no probability.
    """
    real_number("threshold", threshold, most=1.0)
    has = (model.config.target_length, model.config.num_mel_bins)
    wanted = (has[0] if target_length is None else target_length, has[1] if num_mel_bins is None else num_mel_bins)
    if model.mode != "audio_only" or wanted != has:
        raise OptionError(
            f"the network is of the mode {model.mode}, with {has[0]} frames of {has[1]} bands, and audio_only with "
            f"{wanted[0]} of {wanted[1]} is asked for",
            where="audio_event_classification",
            fix="Load it as it was trained; for pictures use audiotag.load(…, options={'mode': …}).",
        )
    predictions: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    usual = model.front_end
    assert isinstance(usual, LogMelFrontEnd)  # a network that hears has one
    mean = -usual.description.shift if norm_mean is None else norm_mean
    std = usual.description.scale if norm_std is None else norm_std
    model.front_end = make_front_end(has[1], has[0], "audioset", mean, std).to(usual.window.device)
    try:
        tagger = _tagger(model, labels)
        for name, path in wav_files.items():
            started = time.perf_counter()
            scores = tagger.scores(read_audio(path, SAMPLE_RATE), SAMPLE_RATE)[0]
            predictions[name] = [
                label.name for label, score in zip(tagger.labels, scores, strict=True) if score > threshold
            ]
            seconds[name] = time.perf_counter() - started
    finally:
        model.front_end = usual
    if report is not None and seconds:
        average = sum(seconds.values()) / len(seconds)
        report(f"{len(seconds)} recordings, {average:.3f} s each on average")
    return predictions, seconds


def _tagger(model: EquiAV, labels: pandas.DataFrame) -> Tagger:
    rows = sorted(zip(labels["index"], labels["mid"], labels["display_name"], strict=True))
    classes = LabelSet([Label(str(mid), str(name)) for _, mid, name in rows], source="labels")
    wrapped = Model(backbone=model, spec=get_host().backbone("equiav"), options={}, labels=classes, name="equiav")
    # The network is used as it is: the caller has chosen its device.
    return Tagger(wrapped, device=next(model.parameters()).device, accelerate=False)


def write_predictions(predictions: Mapping[str, list[str]], path: str | Path) -> None:
    """Write the home system's CSV: ``video_id,predicted_label``, display names joined by commas."""
    rows = [("video_id", "predicted_label"), *((name, ",".join(names)) for name, names in predictions.items())]
    write_text(path, csv_text(rows, verbatim=True))
