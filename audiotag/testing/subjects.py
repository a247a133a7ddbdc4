"""What checks look at: a plugin, or one thing that it registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from audiotag.errors import OptionError, UnknownNameError, suggest
from audiotag.host import PluginRecord, get_host
from audiotag.host.kinds import KINDS, SORTS, sort_of
from audiotag.host.registry import normal
from audiotag.specs import BackboneSpec
from audiotag.testing.check import require

_Made = TypeVar("_Made")


class Wanted(TypedDict, total=False):
    """Which subjects are meant, beside a name, and how they are made: see `find_subjects`."""

    kind: str | None
    options: Mapping[str, Any] | None
    source: str | Path | None
    thorough: bool


@dataclass(frozen=True, eq=False)
class Subject:
    """One thing to check.

    Attributes:
        kind: ``"plugin"``, or what the descriptor stands for.
        name: Its registered name (``"group name"`` for a command); of a plugin, the name of its entry point.
        record: The plugin that brings it.
        spec: Its descriptor, None for a plugin as a whole.
        options: Settings handed to its factory on top of those of the descriptor.
        source: A file or folder for a dataset format to read, None where the format writes a tiny one itself.
        full: Whether every check is run, or the cheap ones only.
    """

    kind: str
    name: str
    record: PluginRecord
    spec: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None
    full: bool = True

    @property
    def label(self) -> str:
        """Kind and name, as reports show them."""
        return f"{self.kind} {self.name}"

    @cached_property
    def factory(self) -> Any:
        """The implementation, imported."""
        return get_host().resolve(self.spec)

    def make(self, *arguments: Any, interface: type[_Made], **more: Any) -> _Made:
        """What the factory gives, which must follow *interface*."""
        made: _Made = self.factory(*arguments, **self.options, **more)
        require(
            isinstance(made, interface),
            f"the factory {self.spec.factory!r} returned {type(made).__name__}, not a {interface.__name__}; "
            f"derive from audiotag.plugin.{interface.__name__}",
        )
        return made


def find_subjects(name: str, **wanted: Unpack[Wanted]) -> list[Subject]:
    """What *name* means: a plugin (entry point or distribution) with all it brings, or one registered thing.

    Where it means both, the plugin is meant, unless *kind* says otherwise. Of a family with many variants the family
    gets every check and its variants the cheap ones; a single registered name gets every check, and so does everything
    where *thorough*.

    Raises:
        UnknownNameError: Nothing is called so.
        OptionError: *kind* is unknown, or options are given for a plugin without backbones.
    """
    kind, thorough = wanted.get("kind"), wanted.get("thorough", False)
    options = dict(wanted.get("options") or {})
    given = wanted.get("source")
    source = None if given is None else Path(given)
    if kind is not None and kind not in SORTS:
        raise OptionError(f"there is no kind {kind!r}", fix=f"The kinds are: {', '.join(SORTS)}.")
    host = get_host()
    if kind is None:
        records = [record for record in host.plugins if normal(name) == normal(record.name)]
        records = records or [record for record in host.plugins if normal(name) == normal(record.distribution)]
        if records:
            subjects = [one for record in records for one in _of_plugin(record, options, source, thorough)]
            if options and not any(one.options for one in subjects):
                raise OptionError(
                    "the plugin brings no family of backbones, which the options could be for", where=name
                )
            return subjects
    found = [
        Subject(found_kind, name, host.owner(spec), spec, options, source)
        for found_kind, registered, spec in registered_things()
        if registered == name and kind in (None, found_kind)
    ]
    if not found:
        raise _unknown(name, kind)
    return found


def registered_things() -> list[tuple[str, str, Any]]:
    """(kind, name, descriptor) of everything that plugins have registered, in order."""
    host = get_host()
    registries = [host.registry(kind.spec) for kind in KINDS.values()]
    return [(sort_of(spec), name, spec) for registry in registries for name, spec in registry.items()]


def _of_plugin(record: PluginRecord, options: Mapping[str, Any], source: Path | None, thorough: bool) -> list[Subject]:
    host = get_host()
    subjects = [Subject("plugin", record.name, record)]
    for kind, name, spec in registered_things():
        if host.owner(spec) is record:
            is_family = isinstance(spec, BackboneSpec) and spec.family == spec.name
            full = thorough or kind != "backbone" or is_family
            subjects.append(Subject(kind, name, record, spec, options if is_family else {}, source, full))
    return subjects


def _unknown(name: str, kind: str | None) -> UnknownNameError:
    known = {found_name for found_kind, found_name, _ in registered_things() if kind in (None, found_kind)}
    if kind is None:
        known |= {record.name for record in get_host().plugins} | {record.distribution for record in get_host().plugins}
    advice = suggest(name, known)
    return UnknownNameError(
        f"no plugin, distribution or registered name is {name!r}" if kind is None else f"there is no {kind} {name!r}",
        fix=" ".join(part for part in (advice, "`audiotag plugins list` shows what there is.") if part),
    )
