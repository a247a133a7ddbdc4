"""``audiotag store simulate``: what policies would keep of a stream of labels."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from audiotag.arguments import count_in
from audiotag.cli.command import Command
from audiotag.cli.options import (
    echo_json,
    figures_option,
    json_option,
    labels_option,
    option,
    overwrite_option,
    parse_options,
)
from audiotag.cli.outputs import check_figures, check_folder
from audiotag.cli.printing import print_columns
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
    policy = option("--policy", "policies", multiple=True, metavar="NAME[:KEY=VALUE,...]", help=chosen)
    seeds = option("--seeds", least=1, default=5, help="Number of runs.")
    seed = option("--seed", least=0, default=0, help=first)
    return lambda function: policy(seeds(seed(function)))


@click.command(cls=Command)
@option(
    "--preset",
    type=click.Choice(_PRESETS),
    help="published: the home system's example (5 classes, 50 places, 100 steps); rare: 21 classes by Zipf 1.5, 5000 "
    "steps, 50 places; drift: 10 classes whose ranking turns round, 100 places.",
)
@option("--counts", metavar="FILE|NAME=N,...", help="Stream: so many clips of each class (CSV: label,count).")
@option("--log", type=Path, metavar="CSV", help="Stream: the labels of a log, row by row.")
@option("--stream", type=click.Choice(_STREAMS), default="zipf", help="Stream: made up.")
@labels_option
@option("--classes", least=1, default=20, help="Made-up stream: classes.")
@option("--steps", least=1, default=5000, help="Made-up stream: clips.")
@option("--exponent", type=float, default=1.0, help="Made-up stream: how uneven; 0 is even (Zipf).")
@option("--most-labels", least=1, default=1, help="Made-up stream: labels of a clip.")
@option("--burst-length", type=float, default=20.0, help="Made-up stream of bursts: their mean length.")
@option("--capacity", least=0, help="Places in the store.  [default: 50, or the preset's]")
@repeated_runs_options("all")
@option("--points", least=1, default=50, help="Points in time recorded.")
@option(
    "--output",
    type=Path,
    metavar="FOLDER",
    help="Write measures.csv and counts.csv here.",
)
@overwrite_option
@figures_option("distributions and measures over time")
@json_option
def simulate(
    preset: str | None,
    counts: str | None,
    log: Path | None,
    labels: str | None,
    capacity: int | None,
    policies: tuple[str, ...],
    seeds: int,
    seed: int,
    points: int,
    output: Path | None,
    overwrite: bool,
    figures: str | None,
    as_json: bool,
    **made_up: Any,
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
    if log is None and labels is not None:
        raise OptionError("--labels are the classes of a --log", fix="Give --log too, or leave --labels out.")
    if any(source is not None for source in (preset, counts, log)):
        _refuse(made_up)
    check_figures(figures, output)
    drawn = [f"{name}.{figures}" for name in ("measures", "distributions") if figures is not None]
    check_folder(output, "measures.csv", "counts.csv", *drawn, overwrite=overwrite)
    contenders = [contender_of(text) for text in policies]
    if preset is not None:
        ready = PRESETS[preset]
        maker, places = ready.stream, ready.capacity
        contenders = contenders or list(ready.contenders)
    else:
        maker = _from_log(log, labels) if log is not None else _made_up(**made_up)
        maker = maker if counts is None else _from_counts(counts)
        places, contenders = 50, contenders or list(ALL_CONTENDERS)
    capacity = places if capacity is None else capacity
    simulation = run(maker, contenders, capacity, seeds=range(seed, seed + seeds), points=points)
    if output is not None:
        _write(simulation, output, figures)
    if as_json:
        echo_json(simulation.summary())
        return
    rows = []
    for row in simulation.summary():
        cells = []
        for key in _COLUMNS:
            mean = "-" if row[key] is None else f"{row[key]:z.3g}"
            several = seeds > 1 and row[key] is not None
            cells.append(f"{mean} ± {round(row[f'{key}_std'], 9):.2g}" if several else mean)
        rows.append((row["policy"], *cells))
    print_columns(("POLICY", *_COLUMNS.values()), rows, right=tuple(_COLUMNS.values()))


def _refuse(made_up: Collection[str]) -> None:
    """Refuse options of made-up streams that were given: another stream takes none of them."""
    context = click.get_current_context()
    given = [name for name in made_up if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise OptionError(f"{named}: for made-up streams only", fix="Leave out --preset, --counts and --log, or these.")


def contender_of(text: str) -> Contender:
    """A policy from ``NAME:KEY=VALUE,...``."""
    from audiotag.continual.simulation import Contender

    name, _, settings = text.partition(":")
    return Contender(name, parse_options([pair for pair in settings.split(",") if pair]))


def _made_up(
    stream: str, classes: int, steps: int, exponent: float, most_labels: int, burst_length: float
) -> StreamMaker:
    from audiotag.continual import streams

    shared: dict[str, Any] = {"exponent": exponent, "most_labels": most_labels}
    if stream == "bursts":
        return lambda generator: streams.burst_stream(classes, steps, generator, mean_length=burst_length, **shared)
    make = streams.zipf_stream if stream == "zipf" else streams.drifting_stream
    return lambda generator: make(classes, steps, generator, **shared)


def _from_counts(text: str) -> StreamMaker:
    from audiotag.continual.streams import read_counts, stream_from_counts

    counts = read_counts(text) if exists(text) else dict(_pair(part) for part in text.split(","))
    return lambda generator: stream_from_counts(counts, generator)


def _pair(text: str) -> tuple[str, int]:
    name, _, written = text.rpartition("=")
    number = count_in(written)
    if not name.strip() or number is None:
        raise OptionError(
            f"{text!r} is no file, and not of the form NAME=N", where="--counts", fix="For example: dog=100,rain=20"
        )
    return name.strip(), number


def _from_log(path: Path, labels: str | None) -> StreamMaker:
    from audiotag.continual.streams import stream_from_log
    from audiotag.labels import read_labels

    heard = stream_from_log(path, None if labels is None else read_labels(labels))
    return lambda generator: heard


def _write(simulation: Simulation, output: Path, figures: str | None) -> None:
    simulation.write_measures(output / "measures.csv")
    simulation.write_counts(output / "counts.csv")
    written = ["measures.csv", "counts.csv"]
    if figures is not None:
        from audiotag.continual.plots import plot_distributions, plot_measures

        for name, plot in (("measures", plot_measures), ("distributions", plot_distributions)):
            plot(simulation, output / f"{name}.{figures}")
            written.append(f"{name}.{figures}")
    click.echo(f"Written to {output}: {', '.join(written)}", err=True)
