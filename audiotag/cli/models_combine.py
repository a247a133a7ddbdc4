"""``audiotag models average``, ``merge``, ``ensemble``, ``summary``: one model of several, and how those compare."""

from __future__ import annotations

from pathlib import Path

import click

from audiotag.cli.command import Command
from audiotag.cli.options import batch_size_option, device_option, option, precision_option, workers_option
from audiotag.errors import OptionError

_EPOCHS_HELP = "Of run folders, these kept epochs (16-30, 1,3,5-8, all) instead of the best one."


def _expand(sources: tuple[str, ...], epochs: str | None) -> list[str | Path]:
    """The models that were named, with the kept epochs in place of each run."""
    if epochs is None:
        return list(sources)
    from audiotag.models.epochs import choose_epochs
    from audiotag.models.facts import FACTS_FILE

    found: list[str | Path] = []
    runs = 0
    for source in sources:
        folder = Path(source)
        if folder.is_dir() and not (folder / FACTS_FILE).is_file():
            found.extend(choose_epochs(folder, epochs))
            runs += 1
        else:
            found.append(source)
    if not runs:
        raise OptionError("none of the models is a run folder", where="--epochs", fix="Leave it out.")
    return found


@click.command("average", cls=Command)
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...")
@option("--epochs", metavar="RANGE", help=_EPOCHS_HELP)
@option("--output", required=True, type=Path, metavar="FOLDER", help="The new checkpoint.")
def average(checkpoints: tuple[str, ...], epochs: str | None, output: Path) -> None:
    """Average the weights of checkpoints into a new one.

    \b
    audiotag models average runs/a --epochs 16-30 --output runs/a/mean
    audiotag models average runs/a/best runs/a/last --output mean

    They are of one model with the same options and the same classes (in any order, matched by mid). Batch-norm
    statistics are averaged too, as PSLA does.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.models.averaging import average_checkpoints

    sources = _expand(checkpoints, epochs)
    model = average_checkpoints(sources, output)
    click.echo(f"{len(sources)} checkpoints of {model.spec.name} averaged: {output}")


@click.command("merge", cls=Command)
@click.argument("checkpoint", metavar="CHECKPOINT")
@option("--output", required=True, type=Path, metavar="FOLDER", help="The new checkpoint.")
def merge(checkpoint: str, output: Path) -> None:
    """Merge low-rank adapters into the network that they were learned for, as one checkpoint without them.

    \b
    audiotag models merge runs/home --output home

    Tagging and export do so by themselves; the new checkpoint needs nothing beside it.
    """  # noqa: D301
    from audiotag.folders import check_new_folder
    from audiotag.models.checkpoint import load_checkpoint, merge, save_checkpoint

    check_new_folder(output)
    model = load_checkpoint(checkpoint, merged=False)
    adapters = model.adapters
    if adapters is None:
        raise OptionError("the checkpoint has no adapters to merge", where=checkpoint, fix="It can be used as it is.")
    save_checkpoint(output, merge(model))
    click.echo(f"Adapters of {adapters} merged into {model.spec.name}: {output}")


@click.command("ensemble", cls=Command)
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@option("--epochs", metavar="RANGE", help=_EPOCHS_HELP)
@option("--combine", type=["logits", "probabilities"], default="logits", help="What is averaged.")
@option("--output", required=True, type=Path, metavar="FOLDER", help="The ensemble.")
@option("--copy/--link", default=True, help="Copy the members' checkpoints, or refer to where they are now.")
def ensemble(members: tuple[str, ...], epochs: str | None, combine: str, output: Path, copy: bool) -> None:
    """Keep several models as one that tags and is evaluated like any other.

    \b
    audiotag models ensemble runs/a --epochs all --combine probabilities --output runs/a-epochs
    audiotag models ensemble runs/a runs/b mn10_as --output three
    audiotag infer --model three clip.wav

    A member is a registered model, a checkpoint folder, or a run folder (its best checkpoint). The classes are the
    same, in any order; families and sample rates may differ.
    """  # noqa: D301
    from typing import cast

    from audiotag.inference.combine import EnsembleMode
    from audiotag.inference.ensemble import save_ensemble

    sources = _expand(members, epochs)
    made = save_ensemble(sources, output, combine=cast(EnsembleMode, combine), copy=copy, progress=True)
    click.echo(f"{len(made.members)} models, averaging {combine}, {len(made.labels)} classes: {output}")


@click.command("summary", cls=Command)
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option("--val", metavar="PATH", help="Validation set.  [default: the run's own]")
@option("--test", metavar="PATH", help="Test set.  [default: the run's own, where it has one]")
@batch_size_option
@workers_option
@device_option
@precision_option
def summary(
    run: Path, val: str | None, test: str | None, batch_size: int, workers: int, device: str, precision: str
) -> None:
    """Compare the models of a run: best, last, averaged, ema, and the ensemble of its kept epochs.

    Each is measured as users would use it, on the validation and the test set; the table is written to
    summary.csv and summary.html in the run folder.
    """
    from audiotag.training.summary import summarise_run, summary_text

    compute = {"device": device, "precision": precision, "batch_size": batch_size, "workers": workers}
    table = summarise_run(run, val=val, test=test, **compute)
    click.echo(summary_text(table))
    click.echo(f"Page: {run / 'summary.html'}")
