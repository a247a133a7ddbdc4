"""``audiotag models``: the registry, facts, weights and complexity."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import Group
from audiotag.cli.completion import names_of
from audiotag.cli.models_combine import average, ensemble, merge, summary
from audiotag.cli.models_hub import pull, push
from audiotag.cli.options import echo_json, json_option, option, option_option
from audiotag.cli.printing import print_columns, warn_failed_plugins
from audiotag.errors import AudiotagError, OptionError
from audiotag.host import get_host

if TYPE_CHECKING:
    from audiotag.models.known import KnownModel
    from audiotag.models.store import WeightsStore
    from audiotag.specs import BackboneSpec, Weights


_SORTS = {"score": "score", "params": "parameters", "macs": "macs", "speed": "speed", "memory": "memory"}
"""What the list is sorted by → what `KnownModels.sorted` calls it."""

_COSTS = ("parameters", "macs", "torch_ms", "onnx_ms", "torch_mb", "onnx_mb")
_COST_TITLES = ("mAP", "PARAMS (M)", "GMAC", "TORCH (ms)", "ONNX (ms)", "TORCH (MB)", "ONNX (MB)")


@click.group(cls=Group)
def models() -> None:
    """Known models: list, facts, weights; average and ensemble."""
    warn_failed_plugins()


for _command in (average, merge, ensemble, summary, push, pull):
    models.add_command(_command)


@models.command("list")
@json_option
@option("--family", metavar="NAME", help="Only the models of one family.")
@option("--published", is_flag=True, help="Only models with published weights, no bare families.")
@option("--sort", type=list(_SORTS), help="Compare what published models cost, best first.")
def list_models(as_json: bool, family: str | None, published: bool, sort: str | None) -> None:
    """List models and families.

    A family (without weights) makes fresh networks; a model has published weights. With --sort: mAP on AudioSet,
    millions of parameters, billions of multiply-accumulates, and for ten seconds of sound on one thread milliseconds
    and the most memory, by torch and by an export (ONNX); docs/models.md says on which machine.
    """
    from audiotag.models.known import known_models
    from audiotag.models.store import WeightsStore

    known = known_models(family, published=published or sort is not None)
    if sort is not None:
        known = known.sorted(_SORTS[sort], reverse=sort == "score")
    if as_json:
        store = WeightsStore()
        costs = {one.name: {each: getattr(one, each) for each in _COSTS} for one in known}
        echo_json(
            [{**facts(get_host().backbone(one.name), store), "name": one.name, **costs[one.name]} for one in known]
        )
        return
    if not known:
        click.echo("No model is registered. Plugins bring them: pip install audiotag-mobilenet-baseline")
        return
    if sort is not None:
        print_columns(("NAME", *_COST_TITLES), [_cost_row(one) for one in known], right=_COST_TITLES)
        return
    print_columns(
        ("NAME", "FAMILY", "RATE", "CLASSES", "HERE", "PUBLISHED RESULT"),
        [_row(one) for one in known],
        right=("RATE", "CLASSES"),
    )


def _cost_row(model: KnownModel) -> tuple[str, ...]:
    values = (model.score, *(getattr(model, name) for name in _COSTS))
    scales = (1, 1e6, 1e9, 1, 1, 1, 1)
    texts = ["" if value is None else f"{value / scale:.3g}" for value, scale in zip(values, scales, strict=True)]
    return (model.name, *texts)


def _row(model: KnownModel) -> tuple[str, ...]:
    here = "family" if model.downloaded is None else "yes" if model.downloaded else "no"
    rate, classes = f"{model.sample_rate // 1000} kHz", str(model.num_classes or "")
    return (model.name, model.family, rate, classes, here, model.result)


def facts(spec: BackboneSpec, store: WeightsStore) -> dict[str, Any]:
    """What is known of *spec*, as plain JSON types."""
    owner = get_host().owner(spec)
    lengths = ("sample_rate", "clip_seconds", "min_seconds", "max_seconds", "embedding_dim")
    found: dict[str, Any] = {
        **_fields(spec, "name", "family", "summary"),
        "plugin": owner.distribution,
        "plugin_version": owner.version,
        **_fields(spec, *lengths, "num_classes", "labels", "single_label"),
        "inputs": list(spec.inputs),
        **_fields(spec, "frame_scores", "not_exported"),
        "options": {key: list(value) if isinstance(value, tuple) else value for key, value in spec.options.items()},
        "figures": dict(spec.figures),
        "recipe": spec.recipe,
        "code_licence": spec.licence,
        "citation": spec.citation,
        "weights": None,
    }
    if spec.weights is not None:
        weights = spec.weights
        found["weights"] = {
            "urls": list(weights.urls),
            "path": str(store.path(weights)),
            "downloaded": store.has(weights),
            **_fields(weights, "sha256", "bytes", "licence", "note"),
            "parts": [str(store.path(part)) for part in weights.parts],
        }
    return found


def folder_facts(name: str) -> dict[str, Any]:
    """What the checkpoint in a folder says of itself, as plain JSON types."""
    from audiotag.folders import current_folder
    from audiotag.models.facts import WEIGHTS_FILE, find_checkpoint, read_facts

    told = read_facts(name)
    made_by, metadata = told["backbone"], told["metadata"]
    return {
        "name": told["name"],
        "folder": str(find_checkpoint(name)),
        "model": made_by["spec"],
        "family": made_by["family"],
        "plugin": made_by["plugin"]["distribution"],
        "plugin_version": made_by["plugin"]["version"],
        "sample_rate": told["sample_rate"],
        "num_classes": len(told["labels"]),
        "single_label": told["single_label"],
        "options": made_by["options"],
        "adapters": made_by.get("adapters"),
        "bytes": (current_folder(find_checkpoint(name)) / WEIGHTS_FILE).stat().st_size,
        "metrics": {key: one for key, one in metadata.get("metrics", {}).items() if one is not None},
    }


def _fields(spec: BackboneSpec | Weights, *names: str) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in names}


@models.command("info")
@click.argument("name", shell_complete=names_of("backbones"), metavar="NAME|FOLDER")
@json_option
def info(name: str, as_json: bool) -> None:
    """Show what is known of one model: a registered one, a run or a checkpoint."""
    from audiotag.models.store import WeightsStore
    from audiotag.places import exists

    is_folder = name not in get_host().backbones and exists(name)
    found = folder_facts(name) if is_folder else facts(get_host().backbone(name), WeightsStore())
    if as_json:
        echo_json(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            if value:
                click.echo(f"{_title(key)}:")
            for inner, detail in value.items():
                if detail not in ("", None, []):
                    click.echo(f"  {inner}: {_text(detail)}")
        elif value not in ("", None):
            click.echo(f"{_title(key)}: {_text(value)}")


def _title(key: str) -> str:
    return key.replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _files(name: str) -> list[tuple[BackboneSpec, Weights]]:
    """The model *name* with each of its files of weights."""
    spec = get_host().backbone(name)
    if spec.weights is None:
        raise OptionError(
            "it is a family of networks and has no published weights",
            where=name,
            fix=f"`audiotag models list --family {spec.family} --published` shows those that have.",
        )
    return [(spec, file) for file in spec.weights.files]


@models.command("download")
@click.argument("names", nargs=-1, shell_complete=names_of("backbones"), required=True, metavar="NAME...")
@option("--refresh", is_flag=True, help="Download again what is there already.")
def download(names: tuple[str, ...], refresh: bool) -> None:
    """Download published weights, check them, and print where they are."""
    from audiotag.models.store import WeightsStore

    store = WeightsStore()

    def fetched(spec: BackboneSpec, weights: Weights) -> str:
        return f"{spec.name}\t{store.fetch(weights, name=spec.name, progress=True, refresh=refresh)}"

    _each_file([row for name in names for row in _files(name)], fetched)


@models.command("export")
@click.argument("names", nargs=-1, shell_complete=names_of("backbones"), required=True, metavar="NAME...")
def export(names: tuple[str, ...]) -> None:
    """Export published models for tagging on the CPU, which then takes them (--engine auto), and print where they are.

    An export starts in a fraction of the time and computes faster than torch; its logits are the same within 1e-3.
    """
    from audiotag.export.export import export_to_cache

    for name in names:
        exported, _ = export_to_cache(name, progress=True)
        click.echo(f"{name}\t{exported.folder}")


@models.command("verify")
@click.argument("names", nargs=-1, shell_complete=names_of("backbones"), metavar="[NAME...]")
@option("--all", "everything", is_flag=True, help="Every model whose weights have been downloaded.")
def verify(names: tuple[str, ...], everything: bool) -> None:
    """Check downloaded weights: size, and SHA-256 as published or as recorded at the first download."""
    from audiotag.models.store import WeightsStore

    if bool(names) == everything:
        raise click.UsageError("Name the models to verify, or give --all.")
    store = WeightsStore()
    if everything:
        published = [name for name, spec in get_host().backbones.items() if spec.weights is not None]
        every_file = [row for name in published for row in _files(name)]
        chosen = [row for row in every_file if not row[1].shipped and store.path(row[1]).is_file()]
        if not chosen:
            click.echo(f"No weights are in {store.root}.")
    else:
        chosen = [row for name in names for row in _files(name)]

    def verified(spec: BackboneSpec, weights: Weights) -> str:
        checked = store.verify(weights, name=spec.name)
        against = "as published" if checked.published else "as first seen here"
        return f"{spec.name}\tok\t{checked.bytes:,} bytes\tsha256 {checked.sha256} {against}"

    _each_file(chosen, verified)


def _each_file(chosen: list[tuple[BackboneSpec, Weights]], work: Callable[[BackboneSpec, Weights], str]) -> None:
    """Print what *work* says of each file, or what is wrong with it; exit code 1 where something is."""
    failed = 0
    for spec, weights in chosen:
        try:
            click.echo(work(spec, weights))
        except AudiotagError as error:
            failed += 1
            click.echo(f"Error: {error}", err=True)
    if failed:
        click.echo(f"{failed} of {len(chosen)} failed.", err=True)
        sys.exit(1)


@models.command("path")
@click.argument("name", shell_complete=names_of("backbones"))
def path_of(name: str) -> None:
    """Print where the weights of a model are, or where to put them."""
    from audiotag.models.store import WeightsStore

    paths = [WeightsStore().path(file) for _, file in _files(name)]
    for path in paths:
        click.echo(str(path))
    if not all(path.is_file() for path in paths):
        click.echo(f"Nothing is there yet. Run: audiotag models download {name}", err=True)


@models.command("complexity")
@click.argument("name", shell_complete=names_of("backbones"))
@option("--seconds", type=click.FloatRange(min=0.0, min_open=True), default=10.0)
@option("--num-classes", least=1, help="Size of the head, where the name states none.")
@option_option
@json_option
def complexity(name: str, seconds: float, num_classes: int | None, options: dict[str, Any], as_json: bool) -> None:
    """Count a network's parameters, multiply-accumulates and peak memory; no weights are needed."""
    from audiotag.models.complexity import measure_complexity
    from audiotag.models.create import build_backbone

    spec = get_host().backbone(name)
    backbone = build_backbone(spec, num_classes, options)
    with get_host().computing(spec, f"measuring {name!r}"):
        measured = measure_complexity(backbone, seconds).to_dict()
    if as_json:
        echo_json({"name": name, **measured})
        return
    click.echo(name)
    for key, value in measured.items():
        unit = " bytes" if key.endswith("memory") else ""
        click.echo(f"  {_title(key)}: {value:,}{unit}")
