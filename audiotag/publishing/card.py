"""The page of a published model (a model card): what it is, learned from, and how well it does, from its own files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotag.documents import Fields, read_fields
from audiotag.engines.exported import read_exported
from audiotag.errors import CheckpointError, UnknownNameError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.facts import facts_in, read_classes
from audiotag.places import is_file
from audiotag.publishing.package import PAGE_FILE, Package
from audiotag.specs import BackboneSpec

_LICENCES = {
    *("apache-2.0", "bsd-3-clause", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0"),
    *("cc0-1.0", "gpl-3.0", "mit", "unknown"),
}
"""What the hub calls them; others are "other" there, with a name."""

_SHOWN_SETTINGS = ("head", "freeze_backbone", "adapter", "epochs", "batch_size", "learning_rate", "loss", "seed")
_MOST_CLASSES = 100
_DATA_FILE, _RUN_FILE = "data.json", "run.json"
"""Of a run's folder (`audiotag.training.run_folder`)."""


@dataclass(frozen=True)
class _Told:
    """What a model's folder says."""

    name: str
    family: str
    plugin: str
    labels: LabelSet
    single_label: bool
    metadata: Mapping[str, Any]
    adapters: Mapping[str, Any] | None

    @classmethod
    def of(cls, package: Package) -> _Told:
        if package.exported:
            exported = read_exported(package.folder)
            made_by: Mapping[str, Any] = exported.source
            named = {"name": made_by["model"], "family": "", "plugin": made_by["plugin"]["distribution"]}
            return cls(
                **named,
                labels=exported.labels,
                single_label=exported.single_label,
                metadata=exported.metadata,
                adapters=None,
            )
        facts = facts_in(package.folder)
        made_by, classes = facts["backbone"], read_classes(facts, package.folder)
        named = {"name": made_by["spec"], "family": made_by["family"], "plugin": made_by["plugin"]["distribution"]}
        return cls(
            **named,
            labels=classes.labels,
            single_label=classes.single_label,
            metadata=facts["metadata"],
            adapters=made_by.get("adapters"),
        )

    @property
    def spec(self) -> BackboneSpec | None:
        """The network's descriptor, where its plugin is installed."""
        try:
            return get_host().backbone(self.name)
        except UnknownNameError:
            return None


def model_card(source: str | Path, package: Package, repository: str, licence: str | None) -> str:
    """``README.md`` of a model, in Markdown, with what the hub reads of it at its head.

    Args:
        source: What is published, as the user names it: a run has more to tell than its checkpoint.
        package: Its files.
        repository: ``OWNER/NAME``.
        licence: Of the weights; None for that of the weights that were started from.
    """
    told = _Told.of(package)
    spec = told.spec
    inherited = spec.weights.licence if spec is not None and spec.weights is not None else "unknown"
    lines = [
        *_head(licence or inherited),
        f"# {repository.rpartition('/')[2]}",
        "",
        f"Tags sounds with {len(told.labels)} classes, of which a clip has "
        + ("one." if told.single_label else "any number.")
        + f" The network is `{told.name}` of {told.plugin}"
        + (f", with low-rank adapters (rank {told.adapters['rank']})." if told.adapters else "."),
        "",
        *_use(repository, told.plugin, package.exported),
        *_classes(told.labels),
        *_learning(told, _run_of(source, package)),
        *_scores(told.metadata),
        "## Licence",
        "",
        f"Weights: {_plain(licence or inherited)}. "
        + (f"They began as those of `{told.name}` ({_plain(inherited)}). " if inherited != "unknown" else "")
        + "The licences of the recordings hold beside it.",
        "",
        "Energy and carbon of the training: not measured.",
        "",
    ]
    return "\n".join(lines) + _page_of_export(package)


def _head(licence: str) -> list[str]:
    known = licence.lower() in _LICENCES
    entries = {
        "license": licence.lower() if known else "other",
        **({} if known else {"license_name": re.sub(r"[^a-z0-9.-]+", "-", licence.lower()).strip("-") or "other"}),
        "library_name": "audiotag",
        "pipeline_tag": "audio-classification",
        "tags": ["audio-tagging", "sound-event-detection"],
    }
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in entries.items()), "---", ""]


def _use(repository: str, plugin: str, exported: bool) -> list[str]:
    name = repository.rpartition("/")[2]
    needed = "'audiotag[hub]'" if exported else f"'audiotag[hub]' {plugin}"
    commands = [
        f"pip install {needed}",
        f"audiotag models pull hf:{repository} --output {name}",
        f"audiotag infer clip.wav --model {name}",
    ]
    return ["## How to use", "", "```bash", *commands, "```", ""]


def _classes(labels: LabelSet) -> list[str]:
    shown = [_plain(label.name) for label in list(labels)[:_MOST_CLASSES]]
    more = f" and {len(labels) - len(shown)} more" if len(labels) > len(shown) else ""
    return ["## Classes", "", ", ".join(shown) + more, ""]


def _learning(told: _Told, run: Path | None) -> list[str]:
    lines = list(_data(run)) if run is not None else []
    settings = told.metadata.get("training", {})
    chosen = [
        f"{name} {_value(settings[name])}" for name in _SHOWN_SETTINGS if settings.get(name) not in (None, False, {})
    ]
    if chosen:
        lines.append(f"- Settings: {', '.join(chosen)}")
    if "clip_seconds" in told.metadata:
        lines.append(f"- Length of clips: {told.metadata['clip_seconds']:g} s")
    return ["## What it learned from", "", *lines, ""] if lines else []


def _data(run: Path) -> Iterator[str]:
    """Number and name of the clips; neither their names nor where they lie."""
    record, asked = (_read(run / name) for name in (_DATA_FILE, _RUN_FILE))
    source = asked.fields("request", {}).fields("train", {}).text("clips", "") if asked is not None else ""
    named = f" of `{_plain(Path(source).name)}`" if source else ""
    if record is not None:
        val = record.texts("val", None)
        yield f"- Clips: {len(record.texts('train')):,}{named}" + (
            f"; {len(val):,} others to validate on" if val else ""
        )


def _read(path: Path) -> Fields | None:
    return read_fields(path, error=CheckpointError, fix="Publish the checkpoint alone.") if is_file(path) else None


def _run_of(source: str | Path, package: Package) -> Path | None:
    """The folder of the run that a checkpoint lies in."""
    places = [Path(source), package.folder.parent, package.folder.parent.parent]
    return next((place for place in places if is_file(place / _DATA_FILE)), None)


def _scores(metadata: Mapping[str, Any]) -> list[str]:
    metrics = {
        key.removeprefix("val_"): value
        for key, value in metadata.get("metrics", {}).items()
        if key.startswith("val_") and isinstance(value, int | float)
    }
    if not metrics:
        return []
    chosen = ", among whose epochs this one was chosen" if "chosen_on" in metadata else ""
    rows = [f"| {name} | {value:.4f} |" for name, value in metrics.items()]
    return ["## Scores", "", f"On the validation clips{chosen}.", "", "| | |", "| --- | ---: |", *rows, ""]


def _page_of_export(package: Package) -> str:
    """What `audiotag export` has written beside the network: its proof."""
    path = package.folder / PAGE_FILE
    if not package.exported or not is_file(path):
        return ""
    text = path.read_text(encoding="utf-8")
    body = text.partition("\n")[2].lstrip("\n")  # without its title
    return "" if text.startswith("---") else f"## The export\n\n{body}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_value(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """*text* as words in Markdown, without marks that mean something there."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
