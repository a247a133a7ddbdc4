"""``audiotag index``: recordings that sound alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import Command, Group
from audiotag.cli.completion import complete_value
from audiotag.cli.infer_progress import InferProgress
from audiotag.cli.options import (
    device_option,
    echo_json,
    engine_option,
    json_option,
    model_option,
    option,
    option_option,
    quiet_option,
    weights_option,
)
from audiotag.cli.printing import print_columns, warn_failed_plugins
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.inference.tagger import Tagger
    from audiotag.similarity import SimilarityIndex

_index_argument = click.argument("folder", metavar="INDEX", type=click.Path(path_type=Path))
_paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=complete_value)


@click.group(cls=Group)
def index() -> None:
    """Find recordings that sound alike."""
    warn_failed_plugins()


@index.command(cls=Command)
@_index_argument
@_paths_argument
@model_option(default="mn10_as")
@weights_option
@option_option
@engine_option
@option(
    "--window",
    type=float,
    metavar="SECONDS",
    help="Length of the parts that are compared.  [default: what the model was trained on]",
    group="Results",
)
@option("--hop", type=float, metavar="SECONDS", help="Time between parts.  [default: a window]", group="Results")
@device_option
@quiet_option
def build(
    folder: Path,
    paths: tuple[str, ...],
    window: float | None,
    hop: float | None,
    quiet: bool,
    device: str,
    **model: Any,
) -> None:
    """Make an index of recordings: files, folders, patterns or lists.

    What was done when this is stopped is kept: go on with `audiotag index add`.
    """
    from audiotag.folders import check_new_folder
    from audiotag.similarity import SimilarityIndex

    check_new_folder(folder)
    weights = model["weights"]
    notes = {**model, "weights": None if weights is None else str(weights.absolute()), "name": model["model"]}
    tagger = _load(notes, device)
    with SimilarityIndex.create(folder, tagger, window=window, hop=hop, notes=notes) as made:
        _add(made, tagger, paths, quiet)


@index.command()
@_index_argument
@_paths_argument
@device_option
@quiet_option
def add(folder: Path, paths: tuple[str, ...], device: str, quiet: bool) -> None:
    """Add recordings; those that are there already are passed over, unless they have changed."""
    from audiotag.similarity import SimilarityIndex

    with SimilarityIndex(folder) as opened:
        _add(opened, _load(opened.settings, device), paths, quiet)


@index.command()
@_index_argument
@click.argument("recording", metavar="RECORDING", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@option("--start", type=float, default=0.0, metavar="SECONDS", help="Where the sound begins in the recording.")
@option("--stop", type=float, metavar="SECONDS", help="Where it ends.  [default: the end of the recording]")
@option("--top", least=1, default=10, help="How many to show.")
@option("--exact", is_flag=True, help="Compare all, however many there are.")
@device_option
@json_option
def search(
    folder: Path,
    recording: Path,
    start: float,
    stop: float | None,
    top: int,
    exact: bool,
    device: str,
    as_json: bool,
) -> None:
    """Show the parts of recordings that sound most like RECORDING, which is itself left out."""
    from audiotag.data.clips import Clip
    from audiotag.similarity import SimilarityIndex

    if start < 0 or (stop is not None and stop <= start):
        raise OptionError(f"the sound is from {start:g} to {stop} s", fix="Let --stop be greater than --start.")
    with SimilarityIndex(folder) as opened:
        clip = Clip(id=recording.stem, path=recording, start=start, stop=stop)
        matches = opened.search_like(_load(opened.settings, device), clip, top, exact=exact)
    if as_json:
        echo_json([{**asdict(match), "path": str(match.path)} for match in matches])
        return
    rows = [(f"{one.similarity:.3f}", f"{one.onset:.1f}", f"{one.offset:.1f}", str(one.path)) for one in matches]
    print_columns(("similarity", "onset", "offset", "recording"), rows, right=("similarity", "onset", "offset"))


@index.command()
@_index_argument
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...", type=click.Path(path_type=Path))
def remove(folder: Path, recordings: tuple[Path, ...]) -> None:
    """Forget recordings."""
    from audiotag.similarity import SimilarityIndex

    with SimilarityIndex(folder) as opened:
        if unknown := [path for path in recordings if not opened.remove(path)]:
            raise OptionError(f"{len(unknown)} of them are not in the index", where=unknown[0], fix="Check the path.")


@index.command()
@_index_argument
@json_option
def info(folder: Path, as_json: bool) -> None:
    """Show what an index holds and which model made it."""
    from audiotag.similarity import SimilarityIndex

    with SimilarityIndex(folder) as opened:
        facts = {
            "model": opened.model,
            "weights": opened.settings.get("weights"),
            "recordings": opened.recordings,
            "embeddings": len(opened),
            **{name: opened.settings[name] for name in ("dim", "window", "hop")},
        }
    if as_json:
        echo_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name:<11} {'-' if value is None else value}")


def _load(settings: dict[str, Any], device: str) -> Tagger:
    from audiotag.inference.loading import load

    return load(
        settings.get("name", settings["model"]),
        weights=settings.get("weights"),
        options=settings.get("options") or {},
        engine=settings.get("engine", "auto"),
        device=device,
        progress=True,
    )


def _add(opened: SimilarityIndex, tagger: Tagger, paths: Sequence[str], quiet: bool) -> None:
    from audiotag.inference.inputs import find_clips

    clips = find_clips(paths)
    known = failed = 0
    with InferProgress(silent=quiet, work="Indexing") as progress:
        progress.begin(len(clips), 0, None)
        for added in opened.add(tagger, clips, heard=progress.heard):
            known += added.known
            if added.error is None:
                progress.done()
            else:
                progress.failed(added.error)
                failed += 1
    if not quiet:
        click.echo(f"{opened.folder}: {opened.recordings} recordings, {len(opened)} embeddings", err=True)
    if failed:
        click.echo(f"{failed} of {len(clips)} recordings could not be read.", err=True)
        sys.exit(1)
