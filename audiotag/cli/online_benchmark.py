"""``audiotag online benchmark``: does on-line learning remember?"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Command
from audiotag.cli.options import (
    device_option,
    echo_json,
    figures_option,
    given_settings,
    json_option,
    option,
    option_option,
    overwrite_option,
    settings_options,
    weights_option,
)
from audiotag.cli.outputs import check_figures, check_folder
from audiotag.cli.printing import print_columns, print_doubts, warn_failed_plugins
from audiotag.cli.store_simulate import contender_of, repeated_runs_options
from audiotag.continual.online_settings import OnlineSettings
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.continual.benchmark import OnlineBenchmark
    from audiotag.data.source import ClipSource
    from audiotag.evaluation.doubts import Doubts


@click.command(cls=Command)
@option("--model", required=True, metavar="NAME|FOLDER", help="Model whose frozen backbone embeds the clips.")
@weights_option
@option_option
@clip_source(
    "--data",
    "labels",
    "format",
    required=True,
    help="Labelled clips with folds (or give --test).",
    others={"test": "Clips to measure on."},
)
@option("--test-fold", type=int, help="Fold to measure on; the others are the stream.")
@option(
    "--task", "tasks", multiple=True, metavar="CLASS,CLASS,...", help="Classes of a task; repeat for each, in order."
)
@option("--classes-per-task", type=int, default=2, help="Without --task: dealt anew for each seed.")
@option("--mixtures", is_flag=True, help="Multi-label: the stream and the test are mixtures of two clips.")
@option("--capacity", least=0, default=40, help="Places in the store.")
@repeated_runs_options("all eight, and the analytic learner")
@settings_options(OnlineSettings, "replay", "steps", "learning_rate", "loss", "optimiser")
@option("--output", type=Path, metavar="FOLDER", help="Write runs.csv, summary.csv and scores.csv.")
@overwrite_option
@figures_option("scores and forgetting")
@device_option
@json_option
def benchmark(
    data: ClipSource,
    test: ClipSource | None,
    test_fold: int | None,
    mixtures: bool,
    output: Path | None,
    figures: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Learn a class-incremental stream on-line with each storage policy, and measure what is forgotten.

    \b
    audiotag online benchmark --model mn04_as --data esc10.csv --test-fold 4 --output report --figures png

    The stream brings task after task, each with classes of its own, every clip once. After each task the model is
    measured on the classes so far. Prints mean and standard deviation over the seeds after the last task: average
    score, forgetting from best, backward transfer, classes with a stored clip, and for each clip of the stream the
    processor time to learn it and the bytes kept. The row `analytic` is `audiotag online --learner analytic`, which
    keeps sums in place of a store; --policy leaves it out.
    """  # noqa: D301
    from audiotag.continual import benchmark as bench
    from audiotag.data.heard import Heard
    from audiotag.engines.torch_engine import choose_device
    from audiotag.evaluation.doubts import doubts_about
    from audiotag.models.heads import change_classes
    from audiotag.models.loading import load_model

    warn_failed_plugins()
    if (test is None) == (test_fold is None):
        raise OptionError("the clips to measure on are not named, or twice", fix="Give --test or --test-fold.")
    check_figures(figures, output)
    model, weights, options, device = (settings.pop(name) for name in ("model", "weights", "options", "device"))
    tasks, classes_per_task = settings.pop("tasks"), settings.pop("classes_per_task")
    capacity, seeds, seed = (settings.pop(name) for name in ("capacity", "seeds", "seed"))
    drawn = [] if figures is None else [f"benchmark.{figures}"]
    check_folder(output, "runs.csv", "summary.csv", "scores.csv", *drawn, overwrite=settings.pop("overwrite"))
    contenders = [contender_of(text) for text in settings.pop("policies")]
    where, wanted = str(choose_device(device)), OnlineSettings(**given_settings(settings))
    everything = data.read()
    if test_fold is not None:
        train, held_out = everything.split_fold(test_fold)
    else:
        assert test is not None
        train, held_out = everything, test.read(everything.labels)
    loaded = load_model(model, weights=weights, options=options or None)
    doubts = doubts_about([loaded], held_out, learning=Heard.of(train))
    change_classes(loaded, train.labels)
    loaded.single_label = train.single_label and not mixtures

    def say(text: str) -> None:
        click.echo(text, err=True)

    def dealt(generator: Any) -> Any:
        if tasks:
            return bench.named_tasks([text.split(",") for text in tasks], train.labels)
        return bench.deal_tasks(len(train.labels), classes_per_task, generator)

    if mixtures:
        sounds: dict[str, Any] = {}

        def streams(generator: Any) -> bench.TaskStream:
            say("Mixing and hearing clips")
            return bench.mixture_stream(
                loaded, train, held_out, dealt(generator), generator, device=where, cache=sounds
            )
    else:
        heard = bench.hear_clips(loaded, train, device=where, progress=say)
        heard_test = bench.hear_clips(loaded, held_out, device=where, progress=say)

        def streams(generator: Any) -> bench.TaskStream:
            return bench.clip_stream(heard, heard_test, dealt(generator), generator)

    result = bench.run_benchmark(
        loaded,
        streams,
        contenders=contenders or bench.CONTENDERS,
        capacity=capacity,
        seeds=range(seed, seed + seeds),
        settings=wanted,
        analytic=not contenders,
        progress=say,
    )
    if output is not None:
        result.write(output)
        if figures is not None:
            from audiotag.continual.plots import plot_benchmark

            plot_benchmark(result, output / f"benchmark.{figures}")
    _show(result, doubts, as_json)
    print_doubts(doubts.warnings)


def _show(result: OnlineBenchmark, doubts: Doubts, as_json: bool) -> None:
    summary = result.summary()
    if as_json:
        echo_json(
            {
                "measure": result.measure,
                "policies": summary.to_dict(orient="records"),
                "learned_clips": list(doubts.learned),
                "warnings": list(doubts.warnings),
            }
        )
        return
    columns = {
        f"AVERAGE {result.measure.upper()}": "average_score",
        "FORGETTING": "forgetting_from_best",
        "BACKWARD TRANSFER": "backward_transfer",
        "CLASSES RETAINED": "classes_retained",
        "MS A CLIP": "ms_per_clip",
        "BYTES A CLIP": "bytes_per_clip",
    }
    plain = {"classes_retained": 1, "ms_per_clip": 2, "bytes_per_clip": 0}  # shown without their deviation
    rows = []
    for _, row in summary.iterrows():
        cells = []
        for name in columns.values():
            spread = row[f"{name}_deviation"]  # none of one run
            spread_shown = "" if name in plain or isnan(spread) else f" ± {spread:.3f}"
            cells.append(f"{row[name]:z.{plain.get(name, 3)}f}{spread_shown}")
        rows.append((*cells, str(row["policy"])))
    print_columns((*columns, "POLICY"), rows, right=tuple(columns))
