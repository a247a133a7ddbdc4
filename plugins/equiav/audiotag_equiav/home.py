"""The two calls that users of the home system know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from audiotag.audio.decoding import read_audio
from audiotag.csv_text import csv_text
from audiotag.errors import OptionError
from audiotag.files import atomic_path
from audiotag.host import get_host
from audiotag.inference.member import choose_device
from audiotag.inference.tagger import Tagger
from audiotag.labels import Label, LabelSet
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag_equiav.backbone import SAMPLE_RATE, EquiAV

if TYPE_CHECKING:
    import pandas

THRESHOLD = 0.5


def load_audio_model(
    class_indices_path: str | Path,
    weights_path: str | Path,
    device: str = "cpu",
    head_type: Literal["linear", "mlp"] = "linear",
    modality_mode: Literal["audio_only"] = "audio_only",
    num_mel_bins: int = 128,
) -> tuple[EquiAV, pandas.DataFrame]:
    """Load a fine-tuned EquiAV that listens.

    Args:
        class_indices_path: ``class_labels_indices.csv`` (``index,mid,display_name``), rows in any order.
        weights_path: The published file, or a checkpoint of ours.
        device: Where the network goes.
        head_type: Kind of head in the file.
        modality_mode: ``audio_only``.
        num_mel_bins: Mel bands the file was trained with.

    Returns:
        The network in evaluation mode, and its classes by index: columns ``index``, ``mid``, ``display_name``.

    Raises:
        LabelError: The class list is wrong, or has another number of classes than the file.
        CheckpointError: The file cannot be read or does not fit; the message names what is missing.
        OptionError: *modality_mode* is another one: pictures go through ``audiotag infer``; or there is no *device*.
    """
    import pandas

    if modality_mode != "audio_only":
        raise OptionError(
            f"modality_mode is {modality_mode!r}, and these calls take sound only",
            where="load_audio_model",
            fix="Use audio_only, or audiotag.load(…, options={'mode': …}) for pictures.",
        )
    place = choose_device(device)
    labels = LabelSet.from_csv(class_indices_path)
    options = {"mode": modality_mode, "head": head_type, "num_mel_bins": num_mel_bins}
    folder = Path(weights_path).is_dir()
    model = load_model("equiav", weights=weights_path, labels=labels, options=None if folder else options)
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
    threshold: float = THRESHOLD,
    report: Callable[[str], Any] | None = print,
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Name what is heard in recordings.

    Args:
        wav_files: Name → recording, of any length, rate and channel count.
        model: From `load_audio_model`.
        labels: From `load_audio_model`.
        threshold: Probability above which a class counts as heard.
        report: Told the average time at the end; None for silence.

    Returns:
        Name → display names above *threshold* by index, and name → seconds that reading and tagging took.

    Raises:
        AudioError: A recording cannot be read; the message names it.
    """
    tagger = _tagger(model, labels)
    predictions: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for name, path in wav_files.items():
        started = time.perf_counter()
        scores = tagger.scores(read_audio(path, SAMPLE_RATE), SAMPLE_RATE)[0]
        predictions[name] = [
            label.name for label, score in zip(tagger.labels, scores, strict=True) if score > threshold
        ]
        seconds[name] = time.perf_counter() - started
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
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = [("video_id", "predicted_label"), *((name, ",".join(names)) for name, names in predictions.items())]
        file.write(csv_text(rows, verbatim=True))
