"""``audiotag data``: labelled sets, published ones and those of users."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Group
from audiotag.cli.completion import names_of
from audiotag.cli.options import OutputFile, echo_json, json_option, option, overwrite_option
from audiotag.cli.outputs import check_files, files_of
from audiotag.cli.printing import print_columns, progress_bar, warn_failed_plugins
from audiotag.errors import AudiotagError, OptionError
from audiotag.files import check_place
from audiotag.folders import check_new_folder
from audiotag.host import get_host
from audiotag.printing import few

if TYPE_CHECKING:
    from audiotag.data.published import PublishedDataset
    from audiotag.data.source import ClipSource
    from audiotag.data.statistics import Statistics
    from audiotag.specs import DatasetSpec

_MAX_NAMED = 20
_source_argument = click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="SOURCE")


@click.group(cls=Group)
def data() -> None:
    """Labelled sets: known ones, preparation, checks, numbers."""
    warn_failed_plugins()


@data.command("list")
@option("--published", is_flag=True, help="Only published data sets, no generic formats.")
@json_option
def list_data(published: bool, as_json: bool) -> None:
    """List the data sets and formats that are read.

    A published data set has a licence and official splits; a format reads what users have. --format and the other
    commands take the names.
    """
    specs = [spec for spec in get_host().datasets.values() if spec.licence or not published]
    if as_json:
        echo_json([_facts(spec) for spec in specs])
        return
    print_columns(
        ("NAME", "KIND", "SPLITS", "LICENCE", "WHAT"),
        [
            (
                spec.name,
                "data set" if spec.licence else "format",
                ", ".join(spec.splits) or "–",
                spec.licence.split(" (")[0] or "–",
                spec.summary,
            )
            for spec in specs
        ],
    )


@data.command()
@click.argument("name", shell_complete=names_of("datasets"))
@json_option
def info(name: str, as_json: bool) -> None:
    """Show what is known of a data set: licence, citation, addresses and checksums."""
    spec = get_host().dataset(name)
    facts = _facts(spec)
    if as_json:
        echo_json(facts)
        return
    click.echo(f"{spec.name}: {spec.summary}")
    for title, value in (
        ("licence", spec.licence),
        ("citation", spec.citation),
        ("homepage", spec.homepage),
        ("splits", ", ".join(spec.splits)),
        ("recognised as", ", ".join("folder" if ending == "/" else ending for ending in spec.extensions)),
    ):
        if value:
            click.echo(f"  {title}: {value}")
    for remote in spec.remotes:
        size = "" if remote.bytes is None else f", {remote.bytes:,} bytes"
        click.echo(f"  file {remote.filename}: {remote.checksum or 'no checksum stated'}{size}")
        click.echo(f"    {remote.url}")
        if remote.note:
            click.echo(f"    {remote.note}")


def _facts(spec: DatasetSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "published": bool(spec.licence),
        "summary": spec.summary,
        "licence": spec.licence,
        "citation": spec.citation,
        "homepage": spec.homepage,
        "splits": list(spec.splits),
        "extensions": list(spec.extensions),
        "remotes": [asdict(remote) for remote in spec.remotes],
        "plugin": get_host().owner(spec).label,
    }


@data.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER")
@option("--output", required=True, type=OutputFile(".csv", ".parquet"), metavar="FILE", help="The list.")
@option("--workers", type=click.IntRange(1, 256), default=4, help="Threads that read headers.")
@overwrite_option
def scan(folder: Path, output: Path, workers: int, overwrite: bool) -> None:
    """List the recordings below FOLDER for `audiotag infer`: length, rate, channels, date and place.

    Date and place are what common recorders write into headers (GUANO, Wildlife Acoustics, AudioMoth, bext) and
    names (20260517_043000.WAV, SITE_20260517_043000.wav); without a place, the folder is taken. Recordings that
    cannot be read are reported and listed without a length.
    """
    from audiotag.inference.scan import scan as write_list

    check_files(output, overwrite=overwrite)
    failures, done = 0, 0

    def failed(error: AudiotagError) -> None:
        nonlocal failures
        failures += 1
        click.echo(f"Error: {error}", err=True)

    with progress_bar("Scanning") as show:

        def scanned() -> None:
            nonlocal done
            done += 1
            if show is not None:
                show(done, done)

        count = write_list(folder, output, workers=workers, failed=failed, scanned=scanned)
    click.echo(f"{count} recordings are listed." + (f" {failures} could not be read." if failures else ""), err=True)


@data.command()
@click.argument("name", shell_complete=names_of("datasets"))
@option("--output", required=True, type=Path, folder=True, metavar="FOLDER", help="Where to.")
@option("--file", "files", multiple=True, metavar="NAME", help="Only this file; may be repeated.")
def download(name: str, output: Path, files: tuple[str, ...]) -> None:
    """Fetch the files that a data set is published in, and check them.

    \b
    audiotag data download fsd50k --output downloads/fsd50k

    The licence is printed first; keep to it. Files that are there and sound are not fetched again. Archives are not
    unpacked.
    """  # noqa: D301
    from audiotag.data.download import choose_remotes, fetch

    spec = get_host().dataset(name)
    remotes = choose_remotes(spec, files)
    check_place(output)
    if spec.licence:
        click.echo(f"Licence of {spec.name}: {spec.licence}", err=True)
    failed = 0
    for done in fetch(remotes, output, progress=sys.stderr.isatty()):
        if done.error is not None:
            failed += 1
            click.echo(f"Error: {done.remote.filename}: {done.error}", err=True)
            if done.remote.note:
                click.echo(f"  {done.remote.note}.", err=True)
            continue
        state = "was there" if done.was_there else "fetched"
        checked = f"{done.remote.checksum} as published" if done.remote.checksum else "no checksum is stated"
        click.echo(f"{done.path}\t{state}\t{checked}")
    if failed:
        click.echo(f"{failed} of {len(remotes)} failed.", err=True)
        sys.exit(1)


@data.command()
@click.argument("name", shell_complete=names_of("datasets"))
@_source_argument
@option("--output", required=True, type=Path, folder=True, metavar="FOLDER", help="A new folder.")
@option("--sample-rate", least=1, metavar="HZ", help="Rate to write.  [default: the data set's usual one]")
def prepare(name: str, source: Path, output: Path, sample_rate: int | None) -> None:
    """Resample a published data set once, for fast training.

    \b
    audiotag data prepare fsd50k downloads/fsd50k --output data/fsd50k_16k --sample-rate 16000

    SOURCE is the folder as published, archives unpacked. An interrupted preparation goes on where it was. The output is
    read like the original: `audiotag finetune --train FOLDER`; it holds a manifest for each official split, too. A
    recording that cannot be read is left out and named, and the exit code is 1.
    """  # noqa: D301
    dataset = _published(name)
    check_place(output)
    with progress_bar("preparing") as progress, _running(name, "preparing"):
        where = dataset.prepare(source, output, sample_rate=sample_rate, progress=progress)
    click.echo(f"{name}: prepared in {where}")


@data.command()
@clip_source("SOURCE", "format", "root")
@json_option
def validate(source: ClipSource, as_json: bool) -> None:
    """Check that every recording is there and can be decoded to its end.

    Takes published data sets, of which it also names files that do not belong, and any other list of clips. The exit
    code is 1 where something is missing or corrupt.
    """
    from audiotag.data.checking import validate_source

    with progress_bar("checking") as progress:
        found = validate_source(source, progress=progress)
    if as_json:
        echo_json(
            {
                "checked": found.checked,
                "complete": found.complete,
                "missing": list(map(str, found.missing)),
                "corrupt": [{"file": str(path), "reason": reason} for path, reason in found.corrupt],
                "extra": list(map(str, found.extra)),
            }
        )
    else:
        _print_some("missing", [str(path) for path in found.missing])
        _print_some("corrupt", [f"{path}: {reason}" for path, reason in found.corrupt])
        _print_some("extra", [str(path) for path in found.extra])
        click.echo(
            f"{source.clips}: {found.checked} recordings, {len(found.missing)} missing, {len(found.corrupt)} corrupt, "
            f"{len(found.extra)} extra"
        )
    if not found.complete:
        sys.exit(1)


def _print_some(word: str, lines: list[str]) -> None:
    for line in lines[:_MAX_NAMED]:
        click.echo(f"{word:<8} {line}")
    if len(lines) > _MAX_NAMED:
        click.echo(f"{word:<8} … and {len(lines) - _MAX_NAMED} more (--json lists all)")


@data.command()
@clip_source("SOURCE", "split", "labels", "format", "root")
@json_option
def stats(source: ClipSource, as_json: bool) -> None:
    """Count clips, hours, labels, rates, splits and folds."""
    from audiotag.data.statistics import describe

    clips = source.read(check_files=False)
    with progress_bar("reading") as progress:
        found = describe(clips, progress)
    if as_json:
        echo_json(found.to_dict())
        return
    _print_statistics(source, found)


def _print_statistics(source: ClipSource, found: Statistics) -> None:
    kind = "one class a clip" if found.single_label else f"{found.label_cardinality:.2f} labels a clip"
    click.echo(f"{source.clips}: {found.clips} clips, {found.hours:.3g} hours, {len(found.classes)} classes, {kind}")
    if found.seconds:
        shown = ", ".join(f"{value:.2f} ({quantile:.0%})" for quantile, value in found.seconds.items())
        click.echo(f"  seconds: {shown}")
    for title, counts in (
        ("rates (Hz)", found.rates),
        ("channels", found.channels),
        ("formats", found.formats),
        ("labels a clip", found.labels_per_clip),
        ("splits", found.splits),
        ("folds", found.folds),
    ):
        if counts:
            click.echo(f"  {title}: " + ", ".join(f"{key}: {count}" for key, count in counts.items()))
    if (events := found.events) is not None:
        click.echo(
            f"  events: {events.number} in {events.clips} clips ({events.without_events} without any), "
            f"{events.seconds:.6g} s, median {events.median_seconds:.2f} s, {events.overlapping} overlap others"
        )
    if found.absent:
        click.echo(f"  listed without a recording: {found.absent}")
    if found.unreadable:
        click.echo(f"  unreadable: {len(found.unreadable)} (audiotag data validate names them)")
    if found.listed_again:
        click.echo(f"  listed again under another id: {_some(found.listed_again)}")
    if found.labels_twice:
        click.echo(f"  classes that a clip names twice: {_some(found.labels_twice)}")
    columns: dict[str, Callable[[dict[str, Any]], str]] = {"CLIPS": lambda entry: str(entry["clips"])}
    if any(entry["unknown"] for entry in found.classes):
        columns["UNKNOWN"] = lambda entry: str(entry["unknown"])
    if found.events is not None:
        columns["EVENTS"] = lambda entry: str(entry["events"])
        columns["SECONDS"] = lambda entry: f"{entry['event_seconds']:.1f}"
        columns["MEDIAN"] = lambda entry: f"{entry['median_event_seconds']:.2f}"
    heard = sorted((entry for entry in found.classes if entry["clips"]), key=lambda entry: -entry["clips"])
    rows = [(*(shown(entry) for shown in columns.values()), _class_name(entry)) for entry in heard]
    print_columns((*columns, "CLASS"), rows, right=tuple(columns))
    if len(heard) < len(found.classes):
        click.echo(f"{len(found.classes) - len(heard)} classes have no clip (--json lists them).")


def _class_name(entry: dict[str, Any]) -> str:
    return str(entry["name"]) if entry["name"] == entry["mid"] else f"{entry['name']} ({entry['mid']})"


def _some(names: Collection[str]) -> str:
    return f"{len(names)} ({few(names, _MAX_NAMED)})"


@data.command()
@clip_source("SOURCE", "split", "labels", "format", "root")
@option("--output", required=True, type=OutputFile(".csv", ".txt"), metavar="FILE", help="weights.csv")
@overwrite_option
@option("--rule", type=["psla", "efficientat"], help="PSLA adds 0.01 to each count, EfficientAT 100.  [default: psla]")
@option("--offset", type=float, help="Add this to each count instead.")
def weights(source: ClipSource, output: Path, overwrite: bool, rule: str | None, offset: float | None) -> None:
    """Write sampling weights: the sum over a clip's labels of 1000 / (count of the label + offset).

    \b
    audiotag data weights train.json --output weights.csv
    audiotag finetune --train train.json --sampler balanced --sampler-option weights=weights.csv

    One weight a line, in the order of the clips.
    """  # noqa: D301
    from audiotag.data.weights import RULES, label_rarity_weights, write_sampling_weights

    if rule is not None and offset is not None:
        raise OptionError("both --rule and --offset are given", fix="A rule is an offset; give one of them.")
    clips = source.read(check_files=False)
    check_files(output, overwrite=overwrite, inputs=files_of(clips, clips.labels.source))
    found = label_rarity_weights(clips.sparse_targets(), RULES[rule or "psla"] if offset is None else offset)
    if not found.any():
        raise OptionError("no clip has a label, so every weight would be 0", where=source.clips)
    write_sampling_weights(output, found)
    click.echo(f"{output}: {len(found)} weights from {found.min():.6g} to {found.max():.6g}")
    if without := int((found == 0).sum()):
        click.echo(f"Warning: {without} clips have no label; their weight is 0, and they are never drawn.", err=True)


@data.command()
@click.argument("name", shell_complete=names_of("datasets"), required=False)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@option("--seed", type=int, default=0, help="Seed of the sounds.")
@option("--strong", is_flag=True, help="Soundscapes with strong labels instead: a set of its own, without NAME.")
@option("--files", type=int, least=8, metavar="N", help="Number of soundscapes of --strong.  [default: 480]")
def tiny(name: str | None, folder: Path | None, seed: int, strong: bool, files: int | None) -> None:
    """Write a tiny made-up version of a published data set, laid out like the real one.

    \b
    audiotag data tiny openmic tiny/openmic
    audiotag data stats tiny/openmic
    audiotag data tiny --strong soundscapes
    audiotag data stats soundscapes/metadata/train.tsv

    --strong writes soundscapes of ten seconds whose labels say when ten classes are heard, in parts to learn from,
    validate on and measure on: 0.3 MB a file.
    """  # noqa: D301
    if strong:
        _write_soundscapes([one for one in (name, folder) if one is not None], seed, files)
        return
    if name is None or folder is None:
        raise click.UsageError("Missing argument 'NAME' or 'FOLDER'.")
    if files is not None:
        raise OptionError("the published data sets have their own numbers of clips", fix="Leave --files out.")
    dataset = _published(name)
    check_new_folder(folder)
    with _running(name, "making up"):
        written = dataset.write_tiny(folder, seed=seed)
    click.echo(f"{name}: made-up sounds in {written}")


def _write_soundscapes(places: Sequence[str | Path], seed: int, files: int | None) -> None:
    from audiotag.data.soundscapes import write_soundscapes

    if len(places) != 1:
        raise click.UsageError("--strong takes one argument, the FOLDER.")
    check_new_folder(folder := Path(places[0]))
    written = write_soundscapes(folder, seed=seed, **({} if files is None else {"files": files}))
    click.echo(f"made-up soundscapes in {folder}: {written.train}, {written.validation}, {written.test}")


def _running(name: str, doing: str) -> AbstractContextManager[None]:
    return get_host().computing(get_host().dataset(name), f"{doing} {name!r}")


def _published(name: str) -> PublishedDataset:
    from audiotag.data.published import PublishedDataset
    from audiotag.data.sniffing import load_dataset

    dataset = load_dataset(name)
    if not isinstance(dataset, PublishedDataset):
        known = ", ".join(spec.name for spec in get_host().datasets.values() if spec.licence)
        raise OptionError(f"{name!r} is a format, not a published data set", fix=f"The data sets are: {known}.")
    return dataset
