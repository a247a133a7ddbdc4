"""``audiotag labels``: the classes of a model, and the labels of clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import Group
from audiotag.cli.completion import names_of
from audiotag.cli.labels_enhance import check, enhance
from audiotag.cli.options import echo_json, json_option, option, option_option, weights_option
from audiotag.cli.printing import warn_failed_plugins

if TYPE_CHECKING:
    from audiotag.labels import LabelChange, LabelSet


@click.group(cls=Group)
def labels() -> None:
    """Give a model other classes; find labels that clips lack."""
    warn_failed_plugins()


labels.add_command(enhance)
labels.add_command(check)


@labels.command()
@click.argument("model", metavar="MODEL", shell_complete=names_of("backbones"))
@option(
    "--labels",
    "new_labels",
    required=True,
    metavar="CSV|NAME",
    help="The new classes, all of them, in the new order: a class_labels_indices.csv or a known list.",
)
@option("--output", required=True, type=Path, metavar="FOLDER", help="The new checkpoint folder.")
@option("--previous-labels", metavar="CSV|NAME", help="Classes of MODEL, where it does not say.")
@weights_option
@option_option
@option("--seed", type=int, default=0, help="Seed of the rows of new classes.")
@json_option
def extend(
    model: str,
    new_labels: str,
    output: Path,
    previous_labels: str | None,
    weights: Path | None,
    options: dict[str, Any],
    seed: int,
    as_json: bool,
) -> None:
    """Give a model other classes; what it knows of those it keeps stays as it is.

    \b
    audiotag labels extend runs/home --labels new.csv --output runs/home-more

    MODEL is a name, or a run or checkpoint folder. Classes are matched by mid, whatever the order: the rows of kept
    classes are copied bit by bit and their scores stay the same, tuned thresholds too; classes that the new list
    lacks are dropped. Everything but the head stays as it is.
    """  # noqa: D301
    from audiotag.folders import check_new_folder
    from audiotag.labels import read_labels
    from audiotag.models.checkpoint import save_checkpoint
    from audiotag.models.heads import change_classes
    from audiotag.models.loading import load_model

    check_new_folder(output)
    loaded = load_model(model, weights=weights, labels=previous_labels, options=options or None)
    old, new = loaded.labels, read_labels(new_labels)
    change = change_classes(loaded, new, seed=seed)
    loaded.name = output.name
    save_checkpoint(output, loaded)
    if as_json:
        echo_json({"kept": list(change.kept), "added": list(change.added), "dropped": list(change.dropped)})
        return
    print_change(old, new, change)
    click.echo(f"{change}: {output}")


def print_change(old: LabelSet, new: LabelSet, change: LabelChange, *, err: bool = False) -> None:
    """Print what became of each class, one a line."""
    for word, mids, names in (
        ("kept", change.kept, new),
        ("added", change.added, new),
        ("dropped", change.dropped, old),
    ):
        for mid in mids:
            name = names[names.index(mid)].name
            click.echo(f"{word:<8} {name}" + ("" if name == mid else f" ({mid})"), err=err)
