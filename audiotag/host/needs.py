"""What something on disk needs of plugins, and what to do where they are gone: in the same words for all of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from audiotag.documents import Fields
from audiotag.errors import AudiotagError, AudiotagWarning, NameTakenError, UnknownNameError
from audiotag.host.host import Host, get_host
from audiotag.host.kinds import KINDS, kind_of
from audiotag.specs import Spec


def needed(
    what: str,
    kind: type[Spec],
    name: str,
    *,
    distribution: str,
    release: str = "",
    error: type[AudiotagError],
    where: object = None,
    until: str = "",
) -> Any:
    """The descriptor of something that a checkpoint, a run, a store or a prepared data set was made with.

    Where several plugins have the name, that of *distribution* is meant.

    Args:
        what: What needs it (``"the checkpoint"``).
        kind: The class of its descriptor.
        name: Its name.
        distribution: Who brought it then; empty where nobody knows.
        release: The version of *distribution* then; empty where nobody knows.
        error: What to raise.
        where: The file or folder.
        until: What can be done without it, as a sentence.

    Raises:
        AudiotagError: As *error*: nobody registers the name, or several do; it says what to install.
    """
    host = get_host()
    try:
        qualified = f"{distribution}:{name}"
        return host.get(kind, qualified if qualified in host.registry(kind) else name)
    except (UnknownNameError, NameTakenError) as cause:
        brought = f" of {distribution} {release}".rstrip() if distribution else ""
        steps = [] if isinstance(cause, NameTakenError) else [_install(host, distribution, release)]
        raise error(
            f"{what} needs the {kind_of(kind).one} {name!r}{brought}: {cause.what}",
            where=where,
            fix=" ".join(step for step in (*steps, until, cause.fix) if step),
        ) from cause


def requirement(distribution: str, release: str) -> str:
    """What to hand to pip, for a shell."""
    return f"'{distribution}=={release}'" if release else distribution


def _install(host: Host, distribution: str, release: str) -> str:
    if not distribution:
        return "Install the plugin that brings it."
    for record in host.plugins:
        if record.distribution == distribution and release in ("", record.version) and record.status != "loaded":
            why = record.problems[0] if record.status == "skipped" else "it fails to load"
            return f"{record.label} is installed, but {why} (see `audiotag plugins list`)."
    return f"Run: pip install {requirement(distribution, release)}."


def warn_of_version(made: str, spec: Spec, distribution: str, release: str, *, where: object, then: str) -> None:
    """Warn where *spec* comes from another version than something on disk was made with.

    Args:
        made: What was made (``"the checkpoint was made with"``).
        spec: What it needs.
        distribution: Who brought that then.
        release: The version then; empty where nobody knows.
        where: The file or folder.
        then: What follows from it, as a clause.
    """
    began, now = f"{distribution} {release}", get_host().owner(spec).label
    if release and began != now:
        warnings.warn(f"{where}: {made} {began}, and {now} is installed: {then}", AudiotagWarning, stacklevel=3)


Note = dict[str, tuple[str, str]]
"""``"kind name"`` → the distribution that brings it, and its version."""


def note(specs: Iterable[Spec]) -> Note:
    """What something that is made with *specs* keeps of them."""
    owners = {f"{kind_of(spec).one} {spec.name}": get_host().owner(spec) for spec in specs}
    return {name: (owner.distribution, owner.version) for name, owner in owners.items()}


def read_note(fields: Fields) -> Note:
    """A `note` from a file; raises as *fields* do where it is damaged."""
    found: Note = {}
    for name in fields:
        pair = fields.texts(name)
        if len(pair) != 2:
            raise fields.refuse(name, "must be a distribution and its version")
        found[name] = (pair[0], pair[1])
    return found


def require_noted(what: str, noted: Note, *, error: type[AudiotagError], where: object) -> None:
    """Refuse to go on with *what* (``"the run"``) where something that it has noted is gone.

    Warns where another version is installed than it began with.

    Raises:
        AudiotagError: As *error*; see `needed`. Also where it noted a kind of a later version.
    """
    found: dict[tuple[str, str], Spec] = {}
    for thing, (distribution, release) in noted.items():
        kind = next((kind for kind in KINDS.values() if thing.startswith(f"{kind.one} ")), None)
        if kind is None:
            unknown = f"{what} needs {thing!r} of {distribution} {release}, a kind unknown to this audiotag"
            raise error(unknown, where=where, fix="Upgrade audiotag (pip install --upgrade audiotag).")
        brought = {"distribution": distribution, "release": release}
        name = thing.removeprefix(f"{kind.one} ")
        found[distribution, release] = needed(what, kind.spec, name, **brought, error=error, where=where)
    for (distribution, release), spec in found.items():
        then = "it may come out otherwise than one without a break."
        warn_of_version(f"{what} began with", spec, distribution, release, where=where, then=then)
