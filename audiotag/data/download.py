"""Fetching the files that a data set is published in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audiotag.errors import AudiotagError, OptionError, suggest
from audiotag.files import atomic_path
from audiotag.folders import path_inside
from audiotag.specs import DatasetSpec, Remote
from audiotag.transfer import TransferError, transfer


@dataclass(frozen=True)
class Fetched:
    """What became of one file.

    Attributes:
        remote: The file.
        path: Where it is, or should be.
        was_there: It was there already, and is what it should be.
        error: Why it is not there; None where it is.
    """

    remote: Remote
    path: Path
    was_there: bool = False
    error: AudiotagError | None = None


def choose_remotes(spec: DatasetSpec, names: Iterable[str] = ()) -> tuple[Remote, ...]:
    """The files of *spec* called *names*, all of them where none is named.

    Raises:
        OptionError: The data set has no files to fetch, or none of such a name.
    """
    if not spec.remotes:
        raise OptionError(
            f"the files of {spec.name!r} cannot be fetched one by one",
            fix=f"Get them at {spec.homepage}." if spec.homepage else None,
        )
    known = {remote.filename: remote for remote in spec.remotes}
    for name in (wanted := list(names)):
        if name not in known:
            raise OptionError(f"{spec.name!r} has no file {name!r}", fix=suggest(name, known) or f"{', '.join(known)}.")
    return tuple(known[name] for name in wanted) if wanted else spec.remotes


def fetch(remotes: Iterable[Remote], folder: Path, *, progress: bool = False) -> Iterator[Fetched]:
    """Fetch files into *folder*, one after the other; what is there and sound is not fetched again.

    A file becomes visible only when it is complete and its checksum is right. One that fails does not keep the next
    from being fetched.

    Args:
        remotes: The files.
        folder: Where to; made with its parents.
        progress: Draw a bar for each on stderr.
    """
    for remote in remotes:
        path = folder
        try:
            path = path_inside(folder, remote.filename, error=TransferError, where=remote.url)
            if path.is_file():
                check_file(path, remote)
                yield Fetched(remote, path, was_there=True)
                continue
            with atomic_path(path) as temporary:
                transfer(remote.url, temporary, remote.filename, progress=progress)
                check_file(temporary, remote)
            yield Fetched(remote, path)
        except AudiotagError as error:
            yield Fetched(remote, path, error=error)
        except OSError as error:
            yield Fetched(remote, path, error=TransferError(f"it cannot be written: {error}", where=path))


def check_file(path: Path, remote: Remote) -> None:
    """Compare size and checksum of a file with what its publisher states, where it states any.

    Raises:
        TransferError: They differ.
    """
    size, what = path.stat().st_size, ""
    if remote.bytes is not None and size != remote.bytes:
        what = f"it has {size:,} bytes, not {remote.bytes:,}"
    elif remote.checksum is not None:
        kind, _, expected = remote.checksum.partition(":")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, kind).hexdigest()
        what = "" if digest == expected else f"its {kind} is {digest}, not {expected}"
    if what:
        raise TransferError(what, where=remote.filename, fix="Delete it and fetch it again.")
