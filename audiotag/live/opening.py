"""From what a user names to a source."""

from __future__ import annotations

from pathlib import Path

from audiotag.errors import OptionError, suggest
from audiotag.host import get_host
from audiotag.live.sources.base import LiveSource, RecordingSource, SourceSettings
from audiotag.places import exists, is_folder
from audiotag.specs import SourceSpec


def open_source(source: str | Path, settings: SourceSettings | None = None) -> LiveSource | RecordingSource:
    """A source of sound; nothing is heard before it is listened to.

    Args:
        source: ``"mic"`` or ``"mic:NAME"`` for a microphone, an address (``"rtsp://…"``, ``"http://…"``), ``"-"`` for
            raw samples on the standard input, the path of a recording or of a folder that recorders drop files into,
            or ``"NAME:PLACE"`` for a source of a plugin.
        settings: What a source must be told that does not say it itself.

    Raises:
        OptionError: There is no such source, or a setting does not go with it.
        AudiotagError: It cannot be had.
    """
    text = str(source)
    spec, place = _spec_of(text)
    made = get_host().make(spec, place, settings or SourceSettings())
    if not isinstance(made, LiveSource | RecordingSource):
        raise get_host().not_a("LiveSource or RecordingSource", spec, made)
    return made


def _spec_of(text: str) -> tuple[SourceSpec, str]:
    """The descriptor, and the place that its factory is given."""
    host = get_host()
    if text == "-":
        return host.source("stdin"), text
    scheme, _, rest = text.partition(":")
    if rest.startswith("//"):
        for spec in host.sources.values():
            if scheme.lower() in spec.schemes:
                return spec, text
        known = sorted(scheme for spec in host.sources.values() for scheme in spec.schemes)
        raise OptionError(f"{scheme}:// is not listened to", where=text, fix=f"There are: {', '.join(known)}.")
    if exists(text):
        return host.source("folder" if is_folder(text) else "file"), text
    if scheme in host.sources:
        return host.source(scheme), rest
    fix = suggest(scheme, host.sources) or f"Give a path, an address, -, or one of: {', '.join(host.sources)}."
    raise OptionError("there is no such source, file or folder", where=text, fix=fix)
