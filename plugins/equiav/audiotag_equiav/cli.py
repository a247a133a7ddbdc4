"""``audiotag x equiav``: pre-training and retrieval from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.plugin import (
    Command,
    check_files,
    check_folder,
    clip_source,
    device_option,
    given_settings,
    option,
    option_option,
    overwrite_option,
    settings_options,
)
from audiotag_equiav.settings import PretrainingSettings

if TYPE_CHECKING:
    from audiotag.plugin import ClipSource

_PRECISIONS = ["32", "bf16-mixed", "16-mixed"]

_READING = ("format", "root", "frames")


@click.command(
    cls=Command,
    short_help="Learn from clips with sound and pictures, without labels.",
    first="--train --output --resume --init --epochs --batch-size --learning-rate --precision --workers",
)
@clip_source("--train", *_READING, help="Clips with wav and video_path: a JSON manifest, or another list.")
@option("--output", type=Path, metavar="FOLDER", help="The run folder, new or empty.", group="Results")
@option(
    "--resume",
    type=Path,
    exists=True,
    folder=True,
    metavar="FOLDER",
    help="Go on with the run in FOLDER, exactly; nothing else is needed.",
    group="Results",
)
@option(
    "--init",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Weights to start from: MAE ViT-B, or pre-trained EquiAV.",
    group="Model",
)
@settings_options(PretrainingSettings)
@option_option
def pretrain(
    train: ClipSource | None,
    output: Path | None,
    resume: Path | None,
    init: Path | None,
    options: dict[str, Any],
    **settings: Any,
) -> None:
    """Learn from clips with sound and pictures, without labels.

    The network's options are given as --option KEY=VALUE: aug_size_a (7, 12, 21, 23, 24), aug_size_v (18, 21),
    centroid, statistics, target_length, depth, width, heads, and so on.
    """
    from audiotag.plugin import OptionError, stoppable
    from audiotag_equiav.pairs import read_pairs
    from audiotag_equiav.pretraining import pretrain, read_run, resume_pretraining
    from audiotag_equiav.pretraining_network import PretrainingOptions

    if resume is not None:
        context = click.get_current_context()
        default = click.core.ParameterSource.DEFAULT
        chosen = [one for one in context.command.params if context.get_parameter_source(str(one.name)) is not default]
        if others := [one.opts[0] for one in chosen if one.name != "resume"]:
            raise OptionError("--resume takes everything from the run", fix=f"Leave out {', '.join(others)}.")
        data = read_run(resume)["data"]
        if not data:
            raise OptionError(
                "the run does not say which clips it learns from",
                where=resume,
                fix="It was started from Python: resume it there, with resume_pretraining.",
            )
        stoppable(lambda: resume_pretraining(resume, read_pairs(**data), report=click.echo))
        folder = resume
    else:
        if train is None or output is None:
            raise OptionError("--train and --output are needed", fix="Or resume a run with --resume FOLDER.")
        root = None if train.root is None else str(Path(train.root).resolve())
        data = {"path": str(Path(str(train.clips)).resolve()), "format": train.format, "root": root}
        data["frames"] = train.frames
        how, network = PretrainingSettings(**given_settings(settings)), PretrainingOptions.from_dict(options)
        stoppable(
            lambda: pretrain(
                read_pairs(**data), output, options=network, settings=how, init=init, data=data, report=click.echo
            )
        )
        folder = output
    click.echo(f"Weights: {folder / 'pretrained.safetensors'}")


@click.command(cls=Command, short_help="Find the picture of each sound and the sound of each picture.")
@option(
    "--weights",
    required=True,
    type=Path,
    exists=True,
    metavar="PATH",
    help="A run folder of pretrain, its pretrained.safetensors, or a published file.",
)
@clip_source("--data", *_READING, required=True, help="Clips with sound and pictures.")
@option("--output", type=Path, metavar="FOLDER", help="Where the results are written.")
@overwrite_option
@option("--seed", type=int, default=0, help="Seed of the sampled transformations.")
@option("--centroid-count", type=int, default=16, help="Transformations sampled for a centroid.")
@option("--batch-size", type=int, default=16, help="Clips computed at a time.")
@option("--chunk", type=int, default=1024, help="Clips ranked against each other at a time.")
@option("--workers", type=int, default=1, help="Processes that read clips.")
@device_option
@option("--precision", type=_PRECISIONS, default="32", help="Numerical precision.")
@option_option
def retrieve(
    weights: Path,
    data: ClipSource,
    output: Path | None,
    overwrite: bool,
    device: str,
    precision: str,
    options: dict[str, Any],
    **settings: int,
) -> None:
    """Find the picture of each sound and the sound of each picture: R@1, R@5, R@10 and the median rank."""
    from audiotag.plugin import choose_device, choose_precision, print_doubts
    from audiotag_equiav.pairs import read_pairs
    from audiotag_equiav.retrieval import learned_from, load_pretrained, retrieve

    check_folder(output, "retrieval.json", "retrieval.csv", "ranks.csv", overwrite=overwrite)
    network = load_pretrained(weights, options).to(choose_device(device))
    clips = read_pairs(data)
    result = retrieve(network, clips, precision=choose_precision(precision), **settings)
    _print(result)
    learned = learned_from(weights).among(clips)
    if learned:
        print_doubts(
            [
                f"{len(learned)} of the {len(clips)} clips were used in pre-training: these figures overestimate "
                "its performance on new sounds. Measure on other clips."
            ]
        )
    if output is not None:
        how = {name: settings[name] for name in ("seed", "centroid_count")}
        result.write(output, weights=str(weights), data=str(data.clips), **how, learned_clips=learned)
        click.echo(f"Results: {output}")


def _print(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("direction", *result.audio_to_video.figures(), title=f"Retrieval among {len(result.ids)} clips")
    for name, direction in result.directions().items():
        table.add_row(name.replace("_", " "), *(f"{value:.3f}" for value in direction.figures().values()))
    Console().print(table)


@click.command(cls=Command, short_help="Pre-train and retrieve on a small synthetic set: tones paired with colours.")
@option("--output", required=True, type=Path, metavar="FOLDER", help="Where all of it is written.")
@option("--epochs", type=int, default=8, help="Passes over the set.")
@option("--seed", type=int, default=0, help="Random seed.")
def demo(output: Path, epochs: int, seed: int) -> None:
    """Pre-train and retrieve on a small synthetic set: tones paired with colours."""
    from audiotag.plugin import check_new_folder
    from audiotag_equiav.demo import run_demo

    check_new_folder(output)
    before, after = run_demo(output, epochs=epochs, seed=seed, report=click.echo)
    click.echo("Before training:")
    _print(before)
    click.echo("After:")
    _print(after)
    click.echo(f"The set, the run and the results are in {output}")


@click.command(cls=Command, short_help="Write an untrained checkpoint in the published format, to try things with.")
@option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A .pth.")
@option(
    "--labels",
    default="home",
    show_default=True,
    metavar="NAME|CSV",
    help="The classes: home, audioset, fsd50k, or a CSV (index,mid,display_name).",
)
@option("--seed", type=int, default=0, help="Seed of the parameters.")
@overwrite_option
@option_option
def create(output: Path, labels: str, seed: int, overwrite: bool, options: dict[str, Any]) -> None:
    """Write an untrained checkpoint in the published format, to try things with.

    Its scores mean nothing, but `audiotag infer --weights`, finetune and the calls of the home system take it. Options
    of the network are given as --option KEY=VALUE: mode, head, depth, width and so on; whoever loads the file gives the
    same ones.
    """
    import torch

    from audiotag.plugin import atomic_path, create_backbone, read_labels

    check_files(output, overwrite=overwrite)
    classes = read_labels(labels)
    network = create_backbone("equiav", len(classes), seed=seed, **options)
    with atomic_path(output) as temporary:
        torch.save({f"__M__.{key}": value for key, value in network.state_dict().items()}, temporary)
    click.echo(f"{output}: an untrained network for {len(classes)} classes of {classes.source}")
