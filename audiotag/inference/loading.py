"""Taggers by name: a registered model, a checkpoint, a run, an exported folder, an ensemble, or several of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiotag.arguments import as_path
from audiotag.engines.opening import open_engine
from audiotag.errors import OptionError
from audiotag.inference.combine import EnsembleMode
from audiotag.inference.ensemble import is_ensemble, read_ensemble, refuse_nesting
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import per_class_thresholds
from audiotag.inference.tuned_decoding import OWN_CELLS, Cells, kept_decoding, read_decoding
from audiotag.labels import LabelSet


def load(
    name: str | Path | Sequence[str | Path],
    weights: str | Path | Sequence[str | Path] | None = None,
    labels: str | Path | LabelSet | Sequence[str] | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    precision: str = "32",
    combine: EnsembleMode | None = None,
    engine: str = "auto",
    progress: bool = False,
) -> Tagger:
    """Load a model, or several as an ensemble, for tagging.

    Args:
        name: A registered model (``"mn10_as"``), a run or checkpoint folder, or the folder of an ensemble; several
            models make an ensemble.
        weights: A published file or a checkpoint of ours instead of the registered weights; one for each name.
        labels: The classes, as `audiotag.labels.read_labels` takes them, where the weights do not say.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``.
        options: Settings of the family (``{"width_mult": 0.4}``).
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"``.
        combine: How several models' outputs are averaged: ``"logits"`` (the default) or ``"probabilities"``. The
            folder of an ensemble has its own rule.
        engine: ``"auto"`` (the kept export of a registered model on the CPU where there is one, else torch),
            ``"torch"`` or ``"onnx"``.
        progress: Draw a progress bar while weights are downloaded.

    Raises:
        AudiotagError: The model or its weights cannot be had, or they do not fit (see `load_model` and `Tagger`).
    """
    names = _each("the model", name)
    if options is not None and not isinstance(options, Mapping):
        raise OptionError(f"options are {options!r:.60}", fix='Give names with values: {"width_mult": 0.4}.')
    computing: dict[str, Any] = {"device": device, "precision": precision, "engine": engine, "progress": progress}
    if len(names) == 1 and is_ensemble(names[0]):
        for what, given in (("weights", weights), ("options", options)):
            if given:
                raise OptionError(f"{what} are given for an ensemble, whose members have their own", where=names[0])
        return _load_ensemble(names[0], labels, combine, computing)
    refuse_nesting(names)
    files: list[Any] = [None] * len(names) if weights is None else _each("weights", weights)
    if len(files) != len(names):
        raise OptionError(
            f"{len(names)} models and {len(files)} files of weights were given", fix="Give one file for each model."
        )
    engines = [
        open_engine(one, weights=file, labels=labels, options=options, **computing)
        for one, file in zip(names, files, strict=True)
    ]
    return Tagger(engines, combine=combine or "logits")


def _each(what: str, value: Any) -> list[str | Path]:
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Path)
    return [one if isinstance(one, str) else as_path(what, one) for one in (value if several else [value])]


def _load_ensemble(
    folder: str | Path,
    labels: str | Path | LabelSet | Sequence[str] | None,
    combine: EnsembleMode | None,
    computing: Mapping[str, Any],
) -> Tagger:
    known = read_ensemble(folder, labels)
    if combine not in (None, known.combine):
        raise OptionError(
            f"the ensemble averages {known.combine}, not {combine}",
            where=folder,
            fix="Leave it out, or make another ensemble (audiotag models ensemble --combine).",
        )
    tagger = Tagger(known.load(**computing), combine=known.combine)
    tagger.name, tagger.labels, tagger.metadata = known.name, known.labels, known.metadata
    tagger.decoding = kept_decoding(known.metadata, known.labels, known.folder)
    if known.thresholds is not None:
        tagger.thresholds = per_class_thresholds(known.thresholds, len(known.labels))
    return tagger


def use_decoding(tagger: Tagger, path: str | Path, asked: Cells = OWN_CELLS) -> None:
    """Let *tagger* read events by the decoding in the file at *path*.

    Raises:
        OptionError: The file cannot be read (see `read_decoding`), or it is for other cells than those *asked* for.
    """
    decoding = read_decoding(path, tagger.labels)
    if asked not in (OWN_CELLS, decoding.cells):
        raise OptionError(
            "it was tuned on other windows or another resolution than those asked for",
            where=path,
            fix="Leave out --window, --hop and --resolution: the file says them.",
        )
    tagger.decoding = decoding
