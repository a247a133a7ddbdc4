"""Who has registered what: the descriptors of one kind by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from audiotag.display import line
from audiotag.errors import NameTakenError
from audiotag.host.kinds import Kind
from audiotag.host.records import CORE_DISTRIBUTION, PluginRecord
from audiotag.specs import Spec

S = TypeVar("S", bound=Spec)


class Owned(NamedTuple, Generic[S]):
    """A descriptor, and the plugin that has registered it."""

    record: PluginRecord
    spec: S

    @property
    def qualified(self) -> str:
        """The name that means this one whoever else has it."""
        return f"{self.record.distribution}:{self.spec.key}"


class Registry(Mapping[str, S]):
    """Name → descriptor, for one kind.

    A name of the core's means the core's, whoever else registers it; one that several other plugins register means
    none of them. ``DISTRIBUTION:NAME`` means that of the distribution, always. Iterating gives every descriptor once,
    by the shortest name that means it.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._owners: dict[str, list[Owned[S]]] = {}

    def __repr__(self) -> str:
        return line(self, *self)

    def add(self, record: PluginRecord, spec: S) -> NameTakenError | None:
        """Take a descriptor in; gives what is to be told where another has its name."""
        owners = self._owners.setdefault(spec.key, [])
        owners.append(Owned(record, spec))
        return self.taken(owners) if len(owners) > 1 else None

    def owners(self, name: str) -> list[Owned[S]]:
        """What *name* means: nothing, one descriptor, or those of several plugins that claim it."""
        distribution, _, key = name.rpartition(":")
        found = self._owners.get(key, [])
        if distribution:
            return [one for one in found if normal(one.record.distribution) == normal(distribution)]
        return [one for one in found if one.record.distribution == CORE_DISTRIBUTION] or found

    def claims(self, name: str) -> list[Owned[S]]:
        """All that are registered by a plain *name*, also those that it does not mean."""
        return self._owners.get(name, [])

    def everything(self) -> Iterator[Owned[S]]:
        """Every descriptor with its owner."""
        return (one for owners in self._owners.values() for one in owners)

    def taken(self, owners: list[Owned[S]]) -> NameTakenError:
        """What is to be told of a name that several register."""
        labels = " and ".join(one.record.label for one in owners)
        named = list(dict.fromkeys(one.qualified for one in owners))
        core = owners[0].record.distribution == CORE_DISTRIBUTION
        if len(named) < len(owners):
            fix = "One plugin registers it twice: report it to its authors."
        elif core:
            fix = f"The name means audiotag's own; name the other in full ({', '.join(map(repr, named[1:]))})."
        else:
            fix = f"Name one in full ({' or '.join(map(repr, named))}), or uninstall one of them."
        return NameTakenError(f"the {self.kind.one} {owners[0].spec.key!r} is registered by {labels}", fix=fix)

    def __getitem__(self, name: str) -> S:
        owners = self.owners(name)
        if len(owners) != 1:
            raise KeyError(name)
        return owners[0].spec

    def __iter__(self) -> Iterator[str]:
        for key, owners in self._owners.items():
            meant = self.owners(key)
            for one in owners:
                name = key if meant == [one] else one.qualified
                if len(self.owners(name)) == 1:
                    yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


def normal(name: str) -> str:
    """A distribution's or an entry point's name without what nobody tells apart: capitals, ``-``, ``_`` and ``.``."""
    return re.sub(r"[-_.]+", "-", name).lower()
