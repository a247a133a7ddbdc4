"""``audiotag store simulate``: what policies would keep of a stream of labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.columns import print_columns
from audiotag.cli.options import echo_json, labels_option, parse_options
from audiotag.cli.outputs import check_folder, overwrite_option
from audiotag.errors import OptionError
from audiotag.places import exists

if TYPE_CHECKING:
    from audiotag.continual.simulation import Contender, Simulation, StreamMaker

_PRESETS = ("published", "rare", "drift")
_STREAMS = ("zipf", "drifting", "bursts")
_COLUMNS = {
    "clips": "CLIPS",
    "classes_retained": "CLASSES RETAINED",
    "total_variation_from_observed": "TV OBSERVED",
    "kl_stored_from_observed": "KL OBSERVED",
    "total_variation_from_uniform": "TV UNIFORM",
}


def repeated_runs_options(which: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--policy``, ``--seeds`` and ``--seed``: which policies are compared, by default *which*, and how often."""
    chosen = f"Policy to compare; may be repeated.  [default: {which}]"
    first = "Seed of the first run; the next have the next."
    policy = click.option("--policy", "policies", multiple=True, metavar="NAME[:KEY=VALUE,...]", help=chosen)
    seeds = click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Number of runs.")
    seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help=first)
    return lambda function: policy(seeds(seed(function)))


@click.command()
@click.option(
    "--preset",
    type=click.Choice(_PRESETS),
    help="published: the home system's example (5 classes, 50 places, 100 steps); rare: 21 classes by Zipf 1.5, 5000 "
    "steps, 50 places; drift: 10 classes whose ranking turns round, 100 places.",
)
@click.option("--counts", metavar="FILE|NAME=N,...", help="Stream: so many clips of each class (CSV: label,count).")
@click.option("--log", type=click.Path(path_type=Path), metavar="CSV", help="Stream: the labels of a log, row by row.")
@click.option("--stream", type=click.Choice(_STREAMS), default="zipf", show_default=True, help="Stream: made up.")
@labels_option
@click.option("--classes", type=click.IntRange(1), default=20, show_default=True, help="Made-up stream: classes.")
@click.option("--steps", type=click.IntRange(1), default=5000, show_default=True, help="Made-up stream: clips.")
@click.option(
    "--exponent", type=float, default=1.0, show_default=True, help="Made-up stream: how uneven; 0 is even (Zipf)."
)
@click.option(
    "--most-labels", type=click.IntRange(1), default=1, show_default=True, help="Made-up stream: labels of a clip."
)
@click.option(
    "--burst-length", type=float, default=20.0, show_default=True, help="Made-up stream of bursts: their mean length."
)
@click.option("--capacity", type=click.IntRange(0), help="Places in the store.  [default: 50, or the preset's]")
@repeated_runs_options("all")
@click.option("--points", type=click.IntRange(1), default=50, show_default=True, help="Points in time recorded.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write measures.csv and counts.csv here (and plots, with --plots).",
)
@overwrite_option
@click.option("--plots", type=click.Choice(["png", "svg"]), help="Draw distributions and measures over time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def simulate(
    preset: str | None,
    counts: str | None,
    log: Path | None,
    stream: str,
    labels: str | None,
    classes: int,
    steps: int,
    exponent: float,
    most_labels: int,
    burst_length: float,
    capacity: int | None,
    policies: tuple[str, ...],
    seeds: int,
    seed: int,
    points: int,
    output: Path | None,
    overwrite: bool,
    plots: str | None,
    as_json: bool,
) -> None:
    """Compare policies on streams of labels, without any sound.

    Prints mean and standard deviation over the runs, at the end of the stream: clips stored, classes with a stored
    clip, total variation distance (TV) and KL divergence of the stored from the observed distribution, and TV from
    equal shares of the observed classes.
    """
    from audiotag.continual.simulation import ALL_CONTENDERS, PRESETS
    from audiotag.continual.simulation import simulate as run

    if sum(source is not None for source in (preset, counts, log)) > 1:
        raise OptionError("--preset, --counts and --log are three streams", fix="Give one of them.")
    if plots is not None and output is None:
        raise OptionError("--plots needs --output", fix="Name a folder for the pictures.")
    drawn = [f"{name}.{plots}" for name in ("measures", "distributions") if plots is not None]
    check_folder(output, "measures.csv", "counts.csv", *drawn, overwrite=overwrite)
    contenders = [contender_of(text) for text in policies]
    if preset is not None:
        ready = PRESETS[preset]
        maker, places = ready.stream, ready.capacity
        contenders = contenders or list(ready.contenders)
    else:
        maker = (
            _from_counts(counts)
            if counts is not None
            else _from_log(log, labels)
            if log is not None
            else _made_up(stream, classes, steps, exponent, most_labels, burst_length)
        )
        places, contenders = 50, contenders or list(ALL_CONTENDERS)
    simulation = run(
        maker,
        contenders,
        places if capacity is None else capacity,
        seeds=range(seed, seed + seeds),
        points=points,
    )
    if output is not None:
        _write(simulation, output, plots)
    if as_json:
        echo_json(simulation.summary())
        return
    print_columns(
        ("POLICY", *_COLUMNS.values()),
        [
            (
                row["policy"],
                *("-" if row[key] is None else f"{row[key]:.3g} ± {row[f'{key}_std']:.2g}" for key in _COLUMNS),
            )
            for row in simulation.summary()
        ],
        right=tuple(_COLUMNS.values()),
    )


def contender_of(text: str) -> Contender:
    """A policy from ``NAME:KEY=VALUE,...``."""
    from audiotag.continual.simulation import Contender

    name, _, settings = text.partition(":")
    return Contender(name, parse_options([pair for pair in settings.split(",") if pair]))


def _made_up(
    stream: str, classes: int, steps: int, exponent: float, most_labels: int, burst_length: float
) -> StreamMaker:
    from audiotag.continual import streams

    if stream == "bursts":
        return lambda generator: streams.burst_stream(
            classes, steps, generator, exponent=exponent, most_labels=most_labels, mean_length=burst_length
        )
    make = streams.zipf_stream if stream == "zipf" else streams.drifting_stream
    return lambda generator: make(classes, steps, generator, exponent=exponent, most_labels=most_labels)


def _from_counts(text: str) -> StreamMaker:
    from audiotag.continual.streams import read_counts, stream_from_counts

    counts = read_counts(text) if exists(text) else dict(_pair(part) for part in text.split(","))
    return lambda generator: stream_from_counts(counts, generator)


def _pair(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name.strip() or not number.strip().isdigit():
        raise OptionError(
            f"{text!r} is no file, and not of the form NAME=N", where="--counts", fix="For example: dog=100,rain=20"
        )
    return name.strip(), int(number)


def _from_log(path: Path, labels: str | None) -> StreamMaker:
    from audiotag.continual.streams import stream_from_log
    from audiotag.labels import read_labels

    heard = stream_from_log(path, None if labels is None else read_labels(labels))
    return lambda generator: heard


def _write(simulation: Simulation, output: Path, plots: str | None) -> None:
    simulation.write_measures(output / "measures.csv")
    simulation.write_counts(output / "counts.csv")
    written = ["measures.csv", "counts.csv"]
    if plots is not None:
        from audiotag.continual.simulation_plots import plot_distributions, plot_measures

        plot_measures(simulation, output / f"measures.{plots}")
        plot_distributions(simulation, output / f"distributions.{plots}")
        written += [f"measures.{plots}", f"distributions.{plots}"]
    click.echo(f"Written to {output}: {', '.join(written)}", err=True)
