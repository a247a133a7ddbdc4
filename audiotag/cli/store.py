"""``audiotag store``: a bounded set of clips on disk, and simulations of what policies keep."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import format_option, root_option, unknown_labels_option
from audiotag.cli.command import Group
from audiotag.cli.options import echo_json, json_option, labels_option, option, parse_options
from audiotag.cli.printing import plain_warnings, print_columns, warn_failed_plugins
from audiotag.cli.store_simulate import simulate
from audiotag.errors import AudiotagError, OptionError, PluginError, StoreError

if TYPE_CHECKING:
    from audiotag.continual.store import Addition, ClipStore
    from audiotag.data.clips import Clip

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@click.group(cls=Group)
def store() -> None:
    """A bounded store of labelled clips that a policy chooses."""
    warn_failed_plugins()


store.add_command(simulate)

_store_argument = click.argument("store_folder", metavar="STORE", type=click.Path(path_type=Path))


@store.command()
@_store_argument
@labels_option
@option("--policy", default="class_balanced", metavar="NAME", help="Who decides what is kept.")
@option(
    "--policy-option", "options", multiple=True, metavar="KEY=VALUE", help="Setting of the policy (replace_prob=0.7)."
)
@option("--capacity", type=int, metavar="N", help="Most clips.")
@option("--capacity-bytes", metavar="SIZE", help="Most bytes of all clips together: 500M, 2G.")
@option("--seed", least=0, default=0, help="Seed of the policy's random choices.")
@option(
    "--from",
    "export",
    type=Path,
    metavar="EXPORT",
    help="Go on from a folder that `store export` wrote; nothing else is needed then.",
)
def init(
    store_folder: Path,
    labels: str | None,
    policy: str,
    options: tuple[str, ...],
    capacity: int | None,
    capacity_bytes: str | None,
    seed: int,
    export: Path | None,
) -> None:
    """Make an empty store, or one from an export.

    audiotag store init memory --labels home --capacity 500
    """
    from audiotag.continual.store import ClipStore

    if export is not None:
        if labels is not None or options or capacity is not None or capacity_bytes is not None:
            raise OptionError("--from brings classes, policy and capacity with it", fix="Leave the other options out.")
        made = ClipStore.from_export(export, store_folder)
    else:
        if labels is None:
            raise OptionError("a store needs its classes", fix="Give --labels, a class list or a known name.")
        made = ClipStore.create(
            store_folder,
            labels,
            policy=policy,
            capacity=capacity,
            capacity_bytes=None if capacity_bytes is None else parse_size(capacity_bytes),
            seed=seed,
            options=parse_options(options),
        )
    with made:
        statistics = made.statistics()
    click.echo(
        f"{store_folder}: policy {statistics.policy}, {_bounds(statistics.capacity, statistics.capacity_bytes)}, "
        f"{len(statistics.mids)} classes, {statistics.clips} clips"
    )


@store.command()
@_store_argument
@click.argument("sources", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@option(
    "--label",
    "names",
    multiple=True,
    metavar="CLASS",
    help="The sources are recordings of this class; may be repeated.",
)
@format_option
@root_option
@option("--labels", metavar="CSV|NAME", help="Classes to add to those of the store first, matched by mid.")
@unknown_labels_option
@option("--resume", is_flag=True, help="Go on after the last clip that an interrupted run of the same list added.")
@option("--quiet", is_flag=True, help="Print the totals only.")
def add(
    store_folder: Path,
    sources: tuple[Path, ...],
    names: tuple[str, ...],
    labels: str | None,
    resume: bool,
    quiet: bool,
    **how: Any,
) -> None:
    """Offer clips to the policy, in their order.

    PATH is a labelled list (JSON, CSV, a folder per class), or with --label recordings.
    """
    from audiotag.continual.store import ClipStore
    from audiotag.continual.store.files import readable
    from audiotag.labels import read_labels

    stored = evicted = failed = offered = 0
    with plain_warnings(), ClipStore(store_folder) as opened:
        if labels is not None:
            opened.extend_labels(read_labels(labels))
        for source in sources:
            clips = _clips_of(opened, source, names, how)
            key = readable(f"add {source.resolve()}")
            start = (opened.note(key) or 0) if resume else 0
            for position, (clip, clip_labels) in enumerate(clips[start:], start=start + 1):
                try:
                    done = _add(opened, clip, clip_labels, {key: position})
                except (StoreError, PluginError):
                    raise
                except AudiotagError as error:
                    click.echo(f"Error: {error}", err=True)
                    failed += 1
                    continue
                offered += 1
                stored += done.stored
                evicted += len(done.evicted)
                if not quiet:
                    click.echo(_line(clip.id, done))
        click.echo(f"{offered} clips offered: {stored} stored, {evicted} evicted, {len(opened)} in the store")
    if failed:
        click.echo(f"{failed} clips could not be added", err=True)
        sys.exit(1)


def _clips_of(
    opened: ClipStore, source: Path, names: tuple[str, ...], how: dict[str, Any]
) -> list[tuple[Clip, list[str]]]:
    """Clips with the mids of their classes."""
    from audiotag.continual.store.files import readable
    from audiotag.data.clips import Clip
    from audiotag.data.source import ClipSource

    if names:
        mids = [opened.labels[opened.labels.index(name)].mid for name in names]
        return [(Clip(id=readable(source), path=source), mids)]
    found = ClipSource(source, **how).read(opened.labels, check_files=False)
    for label, count in found.skipped.items():
        click.echo(f"Warning: {source}: the store has no class {label!r}; it is left out of {count} clips", err=True)
    bare = sum(not clip.labels for clip in found)
    if bare:
        click.echo(f"Warning: {source}: {bare} clips have no class of the store; they are left out", err=True)
    return [
        (replace(clip, id=readable(clip.id)), [found.labels[label].mid for label in clip.labels])
        for clip in found
        if clip.labels
    ]


def _add(opened: ClipStore, clip: Clip, labels: list[str], notes: dict[str, Any]) -> Addition:
    from audiotag.continual.store import Payload

    payload = Payload.from_clip(clip)
    return opened.add(clip.id, payload, labels, source=str(clip.path), notes=notes)


def _line(clip_id: str, done: Addition) -> str:
    gone = f", in the place of {', '.join(done.evicted)}" if done.evicted else ""
    return f"{clip_id}: {'stored' if done.stored else 'not stored'} ({done.reason}){gone}"


@store.command("list")
@_store_argument
@option("--label", metavar="CLASS", help="Only clips of this class.")
@json_option
def list_clips(store_folder: Path, label: str | None, as_json: bool) -> None:
    """List the stored clips, oldest first."""
    from audiotag.continual.store import StoreView

    with StoreView(store_folder) as view:
        clips, classes = view.clips(label), view.labels
    if as_json:
        echo_json(
            [
                {
                    "id": clip.id,
                    "labels": [classes[position].mid for position in clip.labels],
                    "path": str(clip.path),
                    "kind": clip.kind,
                    "bytes": clip.bytes,
                    "sha256": clip.sha256,
                    "source": clip.source,
                    "added": clip.added,
                }
                for clip in clips
            ]
        )
        return
    if not clips:
        click.echo("No clip is stored.")
        return
    print_columns(
        ("ID", "KIND", "BYTES", "ADDED", "CLASSES"),
        [
            (clip.id, clip.kind, str(clip.bytes), clip.added, ", ".join(classes[place].name for place in clip.labels))
            for clip in clips
        ],
        right=("BYTES",),
    )


@store.command()
@_store_argument
@json_option
def stats(store_folder: Path, as_json: bool) -> None:
    """Show how full a store is, and what was observed and kept of each class."""
    from audiotag.continual.store import StoreView

    with StoreView(store_folder) as view:
        facts = view.statistics().to_dict()
    if as_json:
        echo_json(facts)
        return
    bounds = _bounds(facts["capacity"], facts["capacity_bytes"])
    click.echo(f"policy {facts['policy']}, {bounds}")
    click.echo(f"{facts['clips']} clips, {facts['bytes']} bytes, of {facts['offers']} offered")
    click.echo(f"{facts['classes_retained']} of {facts['classes_observed']} observed classes retained")
    for key, words in (
        ("total_variation_from_observed", "total variation distance from the observed distribution"),
        ("kl_stored_from_observed", "KL divergence of the stored from the observed distribution, nats"),
    ):
        if facts[key] is not None:
            click.echo(f"{words}: {facts[key]:.3f}")
    seen = [row for row in facts["classes"] if row["observed"] or row["stored"]]
    if seen:
        print_columns(
            ("OBSERVED", "STORED", "CLASS"),
            [(str(row["observed"]), str(row["stored"]), row["name"]) for row in seen],
            right=("OBSERVED", "STORED"),
        )


@store.command()
@_store_argument
@click.argument("folder", type=click.Path(path_type=Path))
def export(store_folder: Path, folder: Path) -> None:
    """Write clips, counts and state into a new FOLDER.

    Its manifest.json is a labelled list for every other verb; `store init --from` makes a store of it again.
    """
    from audiotag.continual.store import StoreView

    with StoreView(store_folder) as view:
        view.export(folder)
        count = len(view)
    click.echo(f"{count} clips written to {folder}")


@store.command()
@_store_argument
@option("--quick", is_flag=True, help="Compare the sizes of the files only, not their contents.")
@option(
    "--repair",
    is_flag=True,
    help="Make a damaged store whole again with what is left; the old index goes to STORE/quarantine.",
)
@json_option
def verify(store_folder: Path, quick: bool, repair: bool, as_json: bool) -> None:
    """Check that index, files, counts and policy agree; exit code 1 if not.

    Files in STORE/quarantine were unknown to the index when the store was opened, which happens with an index that is
    older than the files: put the newer index back and run --repair, or delete them.
    """
    from audiotag.continual.store import ClipStore, StoreView, Verification

    if repair:
        for line in ClipStore.repair(store_folder):
            click.echo(f"Repaired: {line}", err=as_json)
    try:
        with StoreView(store_folder) as view:
            found = view.verify(deep=not quick)
    except StoreError as error:
        found = Verification(0, 0, False, (str(error),))
    if as_json:
        echo_json(
            {
                "ok": found.ok,
                "clips": found.clips,
                "bytes": found.bytes,
                "problems": list(found.problems),
                "quarantined": list(found.quarantined),
            }
        )
    else:
        for problem in found.problems:
            click.echo(f"Problem: {problem}")
        if found.quarantined:
            click.echo(f"Note: {len(found.quarantined)} files in {store_folder / 'quarantine'} belong to no clip")
        what = "sizes" if quick else "contents"
        state = "everything agrees" if found.ok else f"{len(found.problems)} problems"
        click.echo(f"{found.clips} clips, {found.bytes} bytes, {what} compared: {state}")
    if not found.ok:
        sys.exit(1)


def parse_size(text: str) -> int:
    """Bytes from ``"750000"``, ``"500M"`` or ``"2.5 GB"`` (powers of 1000).

    Raises:
        OptionError: The text is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, flags=re.IGNORECASE)
    if match is None:
        raise OptionError(f"{text!r} is no size in bytes", fix="For example: 500M, 2G.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _bounds(capacity: int | None, capacity_bytes: int | None) -> str:
    parts = [] if capacity is None else [f"{capacity} clips"]
    if capacity_bytes is not None:
        parts.append(f"{capacity_bytes} bytes")
    return "at most " + " and ".join(parts)
