"""Published weights on this machine: downloaded once, checked at every use.

Files lie in one flat folder under the names their publishers gave them. A file whose SHA-256 the registry
does not know gets a record (``NAME.sha256.json``) when it is first seen, and must agree with it ever after.
A download becomes visible only when it is complete and checked, so two processes may fetch at once; what a killed one
has left is removed by the next.

`audiotag models list` asks this module which files are there, so what only a download needs is imported there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from audiotag.cache.place import Usage, cache_folder
from audiotag.display import line
from audiotag.errors import AudiotagError, OutputError, PluginError, WeightsError
from audiotag.specs import Weights
from audiotag.transfer import TransferError, is_plain, transfer

if TYPE_CHECKING:
    from audiotag.documents import Fields

_BY_HAND = "put there by hand"


@dataclass(frozen=True)
class CheckedFile:
    """A file of weights that is what it should be.

    Attributes:
        path: Where it is.
        sha256: Its hash, in hex.
        bytes: Its size.
        published: True where the registry states the hash, False where it was recorded at first sight.
    """

    path: Path
    sha256: str
    bytes: int
    published: bool


class WeightsStore:
    """The folder of published weights.

    Args:
        root: The folder; None for ``weights`` in `cache_folder`.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = cache_folder() / "weights" if root is None else Path(root)

    def __repr__(self) -> str:
        return line(self, self.root)

    def path(self, weights: Weights) -> Path:
        """Where the file is, or would be; a file that a plugin ships is in its package."""
        if weights.shipped is None:
            return self.root / weights.filename
        from importlib.resources import files

        package, path = weights.shipped
        return Path(str(files(package).joinpath(path)))

    def has(self, weights: Weights) -> bool:
        """Whether every file is there."""
        return all(self.path(file).is_file() for file in weights.files)

    def fetch(self, weights: Weights, *, name: str, progress: bool = False, refresh: bool = False) -> Path:
        """The path of the checked file, downloaded where it is not there yet.

        A file that somebody has put at `path` by hand is checked and used.

        Args:
            weights: What to fetch.
            name: The model, for messages.
            progress: Draw a progress bar on stderr.
            refresh: Download again even where the file is there; the old one stays until the new is complete.

        Raises:
            WeightsError: The file is not what it should be, or no address gives it; the message lists every
                address with its failure and says where to put the file by hand.
        """
        self.recorded_sha256(weights)  # a damaged record is told of as such, not as a failed address
        if weights.shipped or (self.path(weights).exists() and not refresh):
            return self.verify(weights, name=name).path
        return self._download(weights, name, progress)

    def verify(self, weights: Weights, *, name: str) -> CheckedFile:
        """Check the file's size and hash; a hash seen for the first time is recorded.

        Raises:
            WeightsError: The file is missing, or is not what it should be.
        """
        path = self.path(weights)
        if not path.is_file():
            raise WeightsError(f"the weights of {name!r} are not there", where=path, fix=_remedy(weights, name))
        self.recorded_sha256(weights)
        try:
            return self._check(path, weights)
        except WeightsError as error:
            raise WeightsError(
                f"the weights of {name!r} are damaged or another file: {error.what}",
                where=path,
                fix=_remedy(weights, f"--refresh {name}"),
            ) from error

    def recorded_sha256(self, weights: Weights) -> str | None:
        """The hash that was recorded when the file was first seen, None where it has not been.

        Raises:
            WeightsError: The record is damaged.
        """
        import re

        record = self._record(weights)
        if record is not None and not re.fullmatch("[0-9a-f]{64}", record.text("sha256")):
            raise record.refuse("sha256", "is not 64 hex digits")
        return None if record is None else record.text("sha256")

    def is_by_hand(self, weights: Weights) -> bool:
        """Whether the file is known to have been put there by somebody, not downloaded."""
        record = self._record(weights)
        return record is not None and record.get("source") == _BY_HAND

    def record_path(self, weights: Weights) -> Path:
        """Where the hash of a file is recorded that nobody has published."""
        return self.root / f"{weights.filename}.sha256.json"

    def _record(self, weights: Weights) -> Fields | None:
        from audiotag.documents import read_fields

        path = self.record_path(weights)
        if not path.exists():
            return None
        fix = "Delete this record of the file's hash, and the file of weights if you doubt it."
        return read_fields(path, error=WeightsError, fix=fix)

    def _check(self, path: Path, weights: Weights, source: str = _BY_HAND) -> CheckedFile:
        """Check the file at *path* (the stored one, or one just downloaded) and record a hash seen first."""
        import hashlib
        import json

        from audiotag.files import write_text

        size = path.stat().st_size
        if weights.bytes is not None and size != weights.bytes:
            raise WeightsError(f"it has {size:,} bytes, not {weights.bytes:,}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            if file.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise WeightsError("it is a web page, not a file of weights")
        expected = weights.sha256 or self.recorded_sha256(weights)
        if expected is not None and digest != expected:
            origin = "published" if weights.sha256 else "recorded when the file was first seen"
            what = f"its sha256 is {digest[:16]}…, not {expected[:16]}… ({origin})"
            if not weights.sha256:
                what += f". Delete {self.record_path(weights)} if the publisher has changed the file."
            raise WeightsError(what)
        if expected is None:
            record = {"sha256": digest, "bytes": size, "source": source}
            write_text(self.record_path(weights), json.dumps(record, indent=2) + "\n")
        return CheckedFile(self.path(weights), digest, size, published=weights.sha256 is not None)

    def _download(self, weights: Weights, name: str, progress: bool) -> Path:
        path = self.path(weights)
        from audiotag.files import atomic_path, remove_abandoned

        remove_abandoned(self.root)
        failures: list[str] = []
        for url in weights.urls:
            try:
                with atomic_path(path) as temporary:
                    _transfer(url, temporary, weights, name, progress)
                    self._check(temporary, weights, source=url)
                return path
            except WeightsError as error:
                failures.append(f"{url}: {error.what}")
            except OutputError as error:  # the transfer's own failures are WeightsErrors; this is the disk
                raise WeightsError(
                    f"the weights of {name!r} {error.what.removeprefix('it ')}",
                    where=path,
                    fix="Free some space, or name another folder in AUDIOTAG_CACHE.",
                ) from error
        tried = "".join(f"\n  {failure}" for failure in failures)
        note = f"\nNote: {weights.note.rstrip('.')}." if weights.note else ""
        raise WeightsError(
            f"the weights of {name!r} could not be downloaded from any of {len(failures)} address(es):{tried}{note}",
            fix=f"\nGet the file some other way and put it at {path}, or name it with --weights FILE.",
        )


class WeightsRoom:
    """The stored files of *weights* that can be had again, to be looked into and cleared; see `Room`.

    A file whose record says that somebody has put it there is not among them.
    """

    def __init__(self, store: WeightsStore, weights: Iterable[Weights]) -> None:
        self._store = store
        self._weights = {file.filename: file for one in weights for file in one.files if file.shipped is None}

    def usage(self) -> Usage:
        """Files of weights that are there."""
        return _usage(self._there())

    def clear(self, before: float | None = None) -> Usage:
        """Remove the files, or those that came before that moment, with the records of their hashes."""
        going = {path: one for path, one in self._there().items() if before is None or path.stat().st_mtime < before}
        usage = _usage(going)
        for path, weights in going.items():
            path.unlink(missing_ok=True)
            self._store.record_path(weights).unlink(missing_ok=True)
        return usage

    def _there(self) -> dict[Path, Weights]:
        found = {self._store.path(one): one for one in self._weights.values()}
        return {path: one for path, one in found.items() if path.is_file() and not self._store.is_by_hand(one)}


def _usage(paths: Iterable[Path]) -> Usage:
    sizes = [path.stat().st_size for path in paths]
    return Usage(len(sizes), sum(sizes))


def _remedy(weights: Weights, arguments: str) -> str:
    if weights.shipped is not None:
        return f"Install the package {weights.shipped[0]!r} again."
    return f"Run: audiotag models download {arguments}"


def _transfer(url: str, destination: Path, weights: Weights, name: str, progress: bool) -> None:
    """Bring the content of *url* into the file *destination*; a failure of the source is a WeightsError."""
    try:
        if weights.fetcher is not None and not is_plain(url):
            _call_fetcher(weights.fetcher, url, destination)
        else:
            transfer(url, destination, name, progress=progress)
    except TransferError as error:
        raise WeightsError(error.what) from error


def _call_fetcher(factory: str, url: str, destination: Path) -> None:
    from audiotag.host.guard import guarded

    def not_imported(what: str) -> PluginError:
        return PluginError(f"the plugin's fetcher {factory!r} cannot be imported ({what})")

    module, _, attribute = factory.partition(":")
    who = f"fetcher {factory!r}"
    try:
        with guarded(who, "importing it", not_imported):
            fetcher = getattr(import_module(module), attribute)
        with guarded(who, f"fetching {url}", PluginError):
            fetcher(url, destination)
    except AudiotagError as error:  # the next address may still work
        raise WeightsError(str(error)) from error
