"""``audiotag finetune``: teach a model the sounds of a labelled set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from audiotag.cli.clip_source import clip_source
from audiotag.cli.options import name_list, option_option, parse_options, weights_option
from audiotag.cli.warnings import warn_failed_plugins

if TYPE_CHECKING:
    from audiotag.data.source import ClipSource

_SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("epochs", int, "Passes over the data.  [default: 15; 30 from scratch, 100 for a head alone]"),
    ("batch-size", int, "Clips a step, over all processes.  [default: 32]"),
    ("seconds", float, "Length of clips in training.  [default: the data's usual length, at most the model's]"),
    ("loss", str, "Loss plugin.  [default: ce for single-label data, else bce]"),
    ("optimiser", click.Choice(["adamw", "adam", "sgd"]), "Optimiser.  [default: adamw]"),
    ("learning-rate", float, "Base rate.  [default: 3e-4; 1e-3 for a head alone or a fresh network]"),
    ("head-lr-ratio", float, "The head's rate as a multiple of the base rate, throughout.  [default: 5, or 1]"),
    ("weight-decay", float, "Decay of weights.  [default: 1e-4, or 1e-2 with a frozen backbone]"),
    ("momentum", float, "Momentum of sgd.  [default: 0.9]"),
    (
        "schedule",
        click.Choice(["cosine", "onecycle", "linear", "step", "constant"]),
        "How the rate changes.  [default: cosine]",
    ),
    ("warmup", float, "Epochs of warm-up.  [default: a tenth of the run, at most 3; onecycle: three tenths]"),
    ("ramp-start", float, "Epoch from which linear and step go down."),
    ("initial-lr", float, "Factor of the rate at the start of the warm-up, but for linear.  [default: 0]"),
    ("final-lr", float, "cosine, onecycle, linear: factor of the rate at the end.  [default: 0.01]"),
    ("clip-grad-norm", float, "Largest norm of the gradient.  [default: no clipping]"),
    ("label-smoothing", float, "Targets become 1 - s and s / classes.  [default: 0]"),
    ("mixup-alpha", float, "Mixup with shares from Beta(a, a), 0 for none.  [default: 0.3]"),
    ("mixup-rate", float, "Share of clips that are mixed.  [default: 1]"),
    ("mixup-on", click.Choice(["spectrogram", "waveform"]), "What is mixed.  [default: spectrogram]"),
    ("mixup-partner", click.Choice(["batch", "set"]), "set: mix waveforms with any clip, as PSLA.  [default: batch]"),
    ("wavmix-rate", float, "Share of clips mixed as waveforms with any clip, before mixup.  [default: 0]"),
    ("wavmix-alpha", float, "Shares of wavmix from Beta(a, a).  [default: 2]"),
    ("mixstyle-rate", float, "Freq-MixStyle in place of mixup: probability for a batch.  [default: 0]"),
    ("mixstyle-alpha", float, "Shares of Freq-MixStyle from Beta(a, a).  [default: 0.4]"),
    ("gain-db", float, "Gain within ± dB.  [default: 6]"),
    ("time-shift", float, "Waveform rolled within ± seconds.  [default: 0.5]"),
    ("noise", float, "Noise up to this share of full scale.  [default: 0]"),
    ("speed-change", float, "Length changed by a factor within 1 ± this.  [default: 0]"),
    ("speed-rate", float, "Share of clips whose speed is changed.  [default: 1]"),
    ("frequency-mask", int, "SpecAugment: widest stripe of bands.  [default: 16]"),
    ("time-mask", int, "SpecAugment: widest stripe of frames.  [default: 64]"),
    ("frequency-stripes", int, "Number of stripes of bands.  [default: 1]"),
    ("time-stripes", int, "Number of stripes of frames.  [default: 1]"),
    ("mask-with", click.Choice(["silence", "mean"]), "What masked cells hold.  [default: silence]"),
    ("roll-frames", int, "Spectrogram rolled within ± frames.  [default: 0]"),
    ("sampler", str, "How clips are chosen (shuffle, balanced, a plugin's).  [default: shuffle]"),
    ("batch-norm-momentum", float, "Momentum of batch-norm statistics.  [default: quick enough for the run]"),
    ("metric", click.Choice(["mAP", "accuracy"]), "What best means.  [default: accuracy for single-label data]"),
    ("early-stopping", int, "Stop after this many epochs without a better metric."),
    ("seed", int, "Seed of everything random.  [default: 0]"),
    ("precision", click.Choice(["32", "16-mixed", "bf16-mixed"]), "Numbers to compute with.  [default: 32]"),
    ("device", str, "cpu, cuda or auto.  [default: auto]"),
    ("devices", int, "Number of processes.  [default: 1]"),
    ("strategy", str, "How processes work together, as Lightning Fabric names it (ddp).  [default: auto]"),
    ("workers", int, "Processes that decode clips.  [default: 1]"),
    ("audio-cache-gb", float, "Keep decoded clips on disk over runs, in at most so many GB.  [default: 0, none]"),
    ("distill-weight", float, "Share of the teacher in the loss.  [default: 0.9 with a teacher]"),
    ("temperature", float, "What the teacher's logits are divided by.  [default: 1]"),
    ("logger", click.Choice(["csv", "tensorboard", "wandb"]), "Log beside log.csv.  [default: csv]"),
    ("average-from", int, "First epoch whose weights go into the checkpoint averaged, 0 for none.  [default: none]"),
    ("average-to", int, "Last such epoch.  [default: the last]"),
    ("ema-decay", float, "Running average of the weights over the steps, the checkpoint ema.  [default: none]"),
    ("keep-epochs", bool, "Keep every epoch's checkpoint, as epochs/epoch_001."),
    ("summary", bool, "Measure the finished models.  [default: with --eval, an average, or kept epochs]"),
    ("warmup-steps", int, "Steps of linear warm-up on top of the schedule.  [default: 0]"),
    ("step-every", float, "Epochs between the halvings of step.  [default: 5]"),
    ("ramp-length", float, "linear: epochs that the way down takes.  [default: the rest of the run]"),
)
"""Settings of `audiotag.training.settings.Settings` as options: name, type, help."""


def settings_options(function: Any) -> Any:
    """An option for each entry of `_SETTINGS`; None where it is not given."""
    for name, kind, text in reversed(_SETTINGS):
        if kind is bool:
            function = click.option(f"--{name}/--no-{name}", default=None, help=text)(function)
        else:
            function = click.option(f"--{name}", type=kind, default=None, help=text)(function)
    return function


def pairs_callback(ctx: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE, any number of times, as a dict."""
    return parse_options(pairs)


_OF_REQUEST = ("val", "eval", "weights", "previous_labels", "fold", "val_fraction", "teacher", "teacher_scores")


@click.command(short_help="Teach a model the sounds of a labelled set.")
@click.option(
    "--backbone",
    metavar="NAME|FOLDER",
    help="Model to start from (mn04_as), a family for a fresh network (mn), or a checkpoint folder.",
)
@clip_source(
    "--train",
    "split",
    "labels",
    "format",
    "root",
    "unknown_labels",
    "single_label",
    "frames",
    others={
        "val": "Clips to validate on.",
        "eval": "Clips to measure the finished models on; training never sees them.",
    },
    parts=("val", "eval"),
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FOLDER", help="The run folder, new or empty.")
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Go on with the run in FOLDER, exactly; nothing else is needed.",
)
@click.option(
    "--previous-labels", metavar="CSV|NAME", help="Classes of the model that is started from, where it does not say."
)
@click.option("--fold", type=int, help="Validate on this fold, learn from the others.")
@click.option("--cross-validate", is_flag=True, help="Train once for each fold; sums up in folds.csv.")
@click.option("--val-fraction", type=float, help="Share of clips to hold out without --val.  [default: 0.15]")
@click.option(
    "--teacher",
    metavar="MODEL[,MODEL...]",
    help="Learn also from what these models say of the training clips; it is computed once and kept.",
)
@click.option(
    "--teacher-scores",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="The same from a file of scores (.npz, .npy); clips without scores learn from their labels alone.",
)
@weights_option
@option_option
@click.option("--freeze-backbone", is_flag=True, default=None, help="Train the head alone, on embeddings kept on disk.")
@click.option(
    "--recipe", metavar="NAME", help="Named settings (see `audiotag recipes list`); --config and options win."
)
@click.option(
    "--mode", metavar="NAME", help="Short for --option mode=NAME (equiav: audio_only, video_only, multimodal)."
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), help="TOML file of settings; options win over it."
)
@click.option(
    "--loss-option",
    "loss_options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=pairs_callback,
    help="Option of the loss.",
)
@click.option(
    "--sampler-option",
    "sampler_options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=pairs_callback,
    help="Option of the sampler (weights=weights.csv).",
)
@settings_options
def finetune(
    backbone: str | None,
    train: ClipSource | None,
    output: Path | None,
    resume: Path | None,
    cross_validate: bool,
    options: dict[str, Any],
    recipe: str | None,
    config: str | None,
    **settings: Any,
) -> None:
    """Teach a model the sounds of a labelled set.

    \b
    audiotag finetune --backbone mn04_as --train train.json --val val.json --output runs/home
    audiotag finetune --backbone mn04_as --freeze-backbone --train esc50.csv --fold 1 --output runs/fold1
    audiotag finetune --backbone mn10_as --train data/fsd50k --split train --val-split val --output runs/fsd50k
    audiotag finetune --resume runs/home

    The run folder holds the checkpoints best, best_loss and last, log.csv and the settings; `audiotag infer
    --model runs/home` uses the best one.
    """  # noqa: D301
    of_request = {name: value for name in _OF_REQUEST if (value := settings.pop(name)) is not None}
    mode = settings.pop("mode")
    given = {name: value for name, value in settings.items() if value not in (None, {})}
    if resume is not None:
        _resume(resume, given)
        return
    missing = [
        f"--{name}" for name, value in (("backbone", backbone), ("train", train), ("output", output)) if value is None
    ]
    if missing:
        raise click.UsageError(f"Missing {', '.join(missing)} (or --resume FOLDER).")
    from audiotag.cli.training_display import RichReporter
    from audiotag.training.finetune import run
    from audiotag.training.folds import finetune_folds
    from audiotag.training.recipes import load_recipe
    from audiotag.training.request import Request
    from audiotag.training.settings_layers import layered, read_toml

    warn_failed_plugins()
    assert backbone is not None and train is not None and output is not None
    chosen = load_recipe(recipe) if recipe else None
    reporter = RichReporter()
    of_recipe = chosen.options_for(backbone, reporter) if chosen else {}
    options = {**of_recipe, **({"mode": mode} if mode else {}), **options}
    if "teacher" in of_request:
        of_request["teacher"] = name_list(of_request["teacher"])
    request = Request(backbone=backbone, train=train, options=options, **of_request)
    merged = layered(chosen.settings if chosen else {}, read_toml(config) if config else {}, given)
    if cross_validate:
        if request.fold is not None or request.val is not None:
            raise click.UsageError("--cross-validate takes neither --fold nor --val nor --val-split.")
        table = stoppable(lambda: finetune_folds(request, merged, output, reporter=reporter))
        reporter.table(table, f"Cross-validation, kept in {output / 'folds.csv'}")
        return
    result = stoppable(lambda: run(request, merged, output, resume=False, reporter=reporter))
    reporter.summary(result)


def _resume(folder: Path, given: dict[str, Any]) -> None:
    context = click.get_current_context()
    asked = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if asked - {"resume", "workers", "device", "logger"}:
        raise click.UsageError(
            "--resume takes its data and settings from the run; only --workers, --device and --logger can be given."
        )
    from audiotag.cli.training_display import RichReporter
    from audiotag.training.finetune import resume_run

    warn_failed_plugins()
    reporter = RichReporter()
    reporter.summary(stoppable(lambda: resume_run(folder, reporter, **given)))


def stoppable(work: Any) -> Any:
    """Run *work*; a run that was told to stop ends with the exit code of its signal."""
    from audiotag.training.processes import is_first_process
    from audiotag.training.stopping import Stopped

    try:
        return work()
    except Stopped as stopped:
        if is_first_process():
            click.echo(str(stopped), err=True)
        sys.exit(128 + stopped.signal)
