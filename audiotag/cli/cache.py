"""``audiotag cache``: what is kept on this machine to save work."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from audiotag.cli.command import Group
from audiotag.cli.options import echo_json, json_option, option
from audiotag.cli.printing import print_columns, warn_failed_plugins
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.cache.place import Room

_PLACES = {"sounds": "sounds", "embeddings": "embeddings.sqlite", "weights": "weights", "exports": "exports"}
"""Kind → its place in the folder of the cache."""

_COMPUTED = ("sounds", "embeddings")
_UNITS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


@click.group(cls=Group, short_help="What is kept on this machine to save work.")
def cache() -> None:
    """Decoded clips (sounds), embeddings and what teachers say (embeddings), published weights, and exports of models.

    They lie in one folder: AUDIOTAG_CACHE, or the platform's own place. What is computed is bounded, and what has not
    been used for longest goes first: embeddings by AUDIOTAG_CACHE_GB (20), sounds by finetune --audio-cache-gb.
    Weights and exports stay until they are cleared, so that a device without network keeps its model.
    """


@cache.command("list")
@json_option
def list_cache(as_json: bool) -> None:
    """Say what there is, how much room it takes, and where it lies."""
    from audiotag.cache.place import cache_bound, cache_folder

    warn_failed_plugins()
    usages = {kind: _room(kind).usage() for kind in _PLACES}
    if as_json:
        kinds = [
            {
                "kind": kind,
                "place": str(cache_folder() / place),
                "entries": usages[kind].entries,
                "bytes": usages[kind].bytes,
                "max_bytes": cache_bound() if kind == "embeddings" else None,
            }
            for kind, place in _PLACES.items()
        ]
        echo_json({"folder": str(cache_folder()), "kinds": kinds})
        return
    rows = [
        (kind, str(usages[kind].entries), _size(usages[kind].bytes), str(cache_folder() / place))
        for kind, place in _PLACES.items()
    ]
    print_columns(("KIND", "ENTRIES", "SIZE", "PLACE"), rows, right=("ENTRIES", "SIZE"))


@cache.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(_PLACES)), metavar="[KIND]...")
@option("--older-than", metavar="AGE", help="Only what was not used for so long (12h, 30d, 4w); weights: not new.")
@json_option
def clear(kinds: tuple[str, ...], older_than: str | None, as_json: bool) -> None:
    """Remove what is kept, and say how much that was.

    KIND is sounds, embeddings, weights or exports; where none is named, it is what is made again without a network:
    sounds and embeddings. Of weights, those go that a model of the installed plugins names and an address gives again.
    Other commands may run meanwhile.
    """
    before = None if older_than is None else time.time() - _age(older_than)
    warn_failed_plugins()
    cleared = {kind: _room(kind).clear(before) for kind in dict.fromkeys(kinds or _COMPUTED)}
    if as_json:
        content = [{"kind": kind, "entries": one.entries, "bytes": one.bytes} for kind, one in cleared.items()]
        echo_json({"cleared": content})
        return
    for kind, one in cleared.items():
        click.echo(f"{kind}: {one.entries} removed, {_size(one.bytes)}")


def _room(kind: str) -> Room:
    from audiotag.cache.ledger import ArrayCache
    from audiotag.cache.place import cache_folder
    from audiotag.data.sound_cache import SoundRoom
    from audiotag.engines.cached import ExportsRoom
    from audiotag.host import get_host
    from audiotag.models.store import WeightsRoom, WeightsStore

    if kind == "exports":
        return ExportsRoom()
    if kind == "weights":
        return WeightsRoom(WeightsStore(), [spec.weights for spec in get_host().backbones.values() if spec.weights])
    return ArrayCache() if kind == "embeddings" else SoundRoom(cache_folder() / _PLACES[kind])


def _age(text: str) -> float:
    """Seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hdw])", text.strip(), flags=re.IGNORECASE)
    if match is None:
        raise OptionError(f"{text!r} is no age", where="--older-than", fix="For example: 12h, 30d, 4w.")
    return float(match[1]) * _UNITS[match[2].lower()]


def _size(count: int) -> str:
    """Bytes as people read them (powers of 1000)."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
