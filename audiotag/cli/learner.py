"""``audiotag learner``: what analytic learners know, added together, looked at, taught and untaught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Command, Group
from audiotag.cli.options import echo_json, json_option, option, overwrite_option
from audiotag.cli.outputs import check_files
from audiotag.cli.printing import print_columns, warn_failed_plugins
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.continual.knowledge import Knowledge
    from audiotag.data.source import ClipSource


@click.group(cls=Group)
def learner() -> None:
    """What analytic learners know: merge devices, look, teach, forget.

    STATE is the folder of a model that `audiotag online --learner analytic` or `audiotag finetune --head analytic` gave
    its head, or a learner's file, learner.safetensors.
    """
    warn_failed_plugins()


_state_argument = click.argument("state", metavar="STATE", type=click.Path(exists=True, path_type=Path))
_output_option = option(
    "--output", required=True, type=Path, metavar="PATH", help="A new model folder, or a file NAME.safetensors."
)


@learner.command(cls=Command)
@_state_argument
@json_option
def info(state: Path, as_json: bool) -> None:
    """Show how many clips of each class a learner was taught."""
    from audiotag.continual.knowledge import Knowledge, described

    facts = described(Knowledge.open(state))
    if as_json:
        echo_json(facts)
        return
    kind = "one class" if facts["single_label"] else "any number of classes"
    click.echo(f"{facts['clips']:g} clips of {kind}, embeddings of {facts['dim']} numbers, {facts['bytes']} bytes")
    print_columns(
        ("CLIPS", "CLASS"), [(f"{one['clips']:g}", one["name"]) for one in facts["classes"]], right=("CLIPS",)
    )


@learner.command(cls=Command)
@click.argument("states", nargs=-1, required=True, metavar="STATE...", type=click.Path(exists=True, path_type=Path))
@_output_option
@overwrite_option
def merge(states: tuple[Path, ...], output: Path, overwrite: bool) -> None:
    """Add what several devices have learnt: the model that one device with all their clips would have.

    \b
    audiotag learner merge hall kitchen --output both
    audiotag infer --model both clip.wav

    All learnt with the same network. Classes are matched by mid; those that the first lacks are appended. The model is
    that of the first STATE that is a folder.
    """  # noqa: D301
    from audiotag.continual import knowledge

    _require_place(output, overwrite, *states)
    _write(knowledge.merge([knowledge.Knowledge.open(state) for state in states]), output)


@learner.command(cls=Command)
@_state_argument
@clip_source("--clips", "format", "root", "unknown_labels", required=True, help="Labelled clips.")
@_output_option
@overwrite_option
def teach(state: Path, clips: ClipSource, output: Path, overwrite: bool) -> None:
    """Teach a learner clips whose labels came later.

    audiotag learner teach runs/home --clips corrected.json --output runs/corrected
    """
    from audiotag.continual import knowledge

    _require_place(output, overwrite, state)
    opened = knowledge.Knowledge.open(state)
    _write(knowledge.teach(opened, clips.read(opened.learner.labels)), output)


@learner.command(cls=Command)
@_state_argument
@option("--class", "names", multiple=True, metavar="CLASS", help="Forget this class; may be repeated.", group="Data")
@clip_source("--clips", "format", "root", "unknown_labels", help="Labelled clips to forget, as they were learnt.")
@_output_option
@overwrite_option
def forget(state: Path, names: tuple[str, ...], clips: ClipSource | None, output: Path, overwrite: bool) -> None:
    """Take classes or clips out of what a learner knows.

    \b
    audiotag learner forget runs/home --class Doorbell --output runs/quiet
    audiotag learner forget runs/home --clips wrong.json --output runs/right

    A clip is forgotten as if it had never been learnt, for which its sound and its labels are needed. The clips of a
    class are from then on clips of no class, and still part of how embeddings are spread.
    """  # noqa: D301
    from audiotag.continual import knowledge

    if not names and clips is None:
        raise OptionError("there is nothing to forget", fix="Give --class or --clips.")
    _require_place(output, overwrite, state)
    opened = knowledge.Knowledge.open(state)
    if clips is not None:
        opened = knowledge.teach(opened, clips.read(opened.learner.labels), forget=True)
    for name in names:
        opened.learner.remove_class(name)
    _write(opened, output)


def _require_place(output: Path, overwrite: bool, *states: Path) -> None:
    from audiotag.continual.knowledge import files_of, is_file_name
    from audiotag.folders import check_new_folder

    if is_file_name(output):
        check_files(output, overwrite=overwrite, inputs=[file for state in states for file in files_of(state)])
    elif overwrite:
        raise OptionError("a model's folder is not overwritten", where=output, fix="Name a new one.")
    else:
        check_new_folder(output)


def _write(state: Knowledge, output: Path) -> None:
    state.write(output)
    click.echo(f"{state.learner.clips:g} clips, {len(state.learner.labels)} classes: {output}")
