"""Published weights on this machine: downloaded once, checked at every use.

Files lie in one flat folder under the names their publishers gave them. A file whose SHA-256 the registry
does not know gets a record (``NAME.sha256.json``) when it is first seen, and must agree with it ever after.
A download becomes visible only when it is complete and checked, so two processes may fetch at once; what a killed one
has left is removed by the next.

`audiotag models list` asks this module which files are there, so what only a download needs is imported there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from audiotag.errors import AudiotagError, WeightsError
from audiotag.plugin import Weights

TIMEOUT_SECONDS = 30.0
"""How long a server may stay silent."""

_CHUNK = 1 << 16


def cache_folder() -> Path:
    """The folder of everything audiotag keeps for a user: ``AUDIOTAG_CACHE``, or the platform's own place."""
    chosen = os.environ.get("AUDIOTAG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("audiotag")


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

    def path(self, weights: Weights) -> Path:
        """Where the file is, or would be."""
        return self.root / weights.filename

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
        if self.path(weights).exists() and not refresh:
            return self.verify(weights, name=name).path
        return self._download(weights, name, progress)

    def verify(self, weights: Weights, *, name: str) -> CheckedFile:
        """Check the file's size and hash; a hash seen for the first time is recorded.

        Raises:
            WeightsError: The file is missing, or is not what it should be.
        """
        path = self.path(weights)
        if not path.is_file():
            raise WeightsError(
                f"the weights of {name!r} are not there",
                where=path,
                fix=f"Run: audiotag models download {name}",
            )
        try:
            return self._check(path, weights)
        except WeightsError as error:
            raise WeightsError(
                f"the weights of {name!r} are damaged or another file: {error.what}",
                where=path,
                fix=f"Run: audiotag models download --refresh {name}",
            ) from error

    def recorded_sha256(self, weights: Weights) -> str | None:
        """The hash that was recorded when the file was first seen, None where it has not been.

        Raises:
            WeightsError: The record is damaged.
        """
        import json

        path = self._record_path(weights)
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"the record of the file's hash cannot be read ({error})",
                where=path,
                fix="Delete the record, and the file of weights if you doubt it.",
            ) from error

    def _record_path(self, weights: Weights) -> Path:
        return self.root / f"{weights.filename}.sha256.json"

    def _check(self, path: Path, weights: Weights, source: str = "put there by hand") -> CheckedFile:
        """Check the file at *path* (the stored one, or one just downloaded) and record a hash seen first."""
        import hashlib
        import json

        from audiotag.files import write_atomically

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
            fix = (
                None
                if weights.sha256
                else f"Delete {self._record_path(weights)} if the publisher has changed the file."
            )
            raise WeightsError(
                f"its sha256 is {digest[:16]}…, not {expected[:16]}… ({origin})" + ("" if fix is None else f". {fix}")
            )
        if expected is None:
            record = {"sha256": digest, "bytes": size, "source": source}
            write_atomically(self._record_path(weights), (json.dumps(record, indent=2) + "\n").encode())
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
            except OSError as error:  # the transfer's own failures are WeightsErrors; this is the disk
                raise WeightsError(
                    f"the weights of {name!r} cannot be written: {error}",
                    where=path,
                    fix="Make room, or name another folder in AUDIOTAG_CACHE.",
                ) from error
        tried = "".join(f"\n  {failure}" for failure in failures)
        note = f"\nNote: {weights.note.rstrip('.')}." if weights.note else ""
        raise WeightsError(
            f"the weights of {name!r} cannot be had from any of {len(failures)} address(es):{tried}{note}",
            fix=f"\nGet the file some other way and put it at {path}, or name it with --weights FILE.",
        )


def _transfer(url: str, destination: Path, weights: Weights, name: str, progress: bool) -> None:
    """Bring the content of *url* into the file *destination*; a failure of the source is a WeightsError."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise WeightsError(f"the address is malformed ({error})") from error
    if parts.scheme in ("", "file"):
        _copy(Path(unquote(parts.path) if parts.scheme else url), destination)
        return
    if parts.scheme not in ("http", "https"):
        if weights.fetcher is None:
            raise WeightsError(f"the scheme {parts.scheme!r} is not understood")
        _call_fetcher(weights.fetcher, url, destination)
        return
    import pooch
    import requests

    with _meter(name, progress) as meter:
        downloader = pooch.HTTPDownloader(progressbar=meter, chunk_size=_CHUNK, timeout=TIMEOUT_SECONDS)
        try:
            downloader(url, str(destination), None)
        except requests.RequestException as error:
            raise WeightsError(_reason(error)) from error
    size = destination.stat().st_size
    if size < meter.total:  # larger is possible: a server may compress on the way
        raise WeightsError(f"the download broke off after {size:,} of {meter.total:,} bytes")


def _copy(source: Path, destination: Path) -> None:
    import shutil

    try:
        shutil.copyfile(source, destination)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise WeightsError(error.strerror or type(error).__name__) from error


def _call_fetcher(factory: str, url: str, destination: Path) -> None:
    module, _, attribute = factory.partition(":")
    try:
        fetcher = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise WeightsError(f"the plugin's fetcher {factory!r} cannot be imported ({error})") from error
    try:
        fetcher(url, destination)
    except AudiotagError as error:
        raise WeightsError(str(error)) from error
    except Exception as error:  # a plugin's code; the next address may still work
        raise WeightsError(f"{type(error).__name__}: {error}") from error


def _reason(error: BaseException) -> str:
    """The innermost cause of a failed transfer, in one line."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the download broke off ({error.args[0]})"
    cause: Any = error
    while (inner := getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        cause = inner
    text = str(cause).partition(": ")[2] or str(cause) or type(cause).__name__
    if isinstance(error, requests.ConnectionError):
        return f"no connection ({text.splitlines()[0]})"
    return text.splitlines()[0]


class _Meter(Protocol):
    """What pooch expects of a progress bar: it sets `total` from the answer's Content-Length."""

    total: int

    def update(self, count: int) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class _SilentMeter:
    """Keeps the announced size and draws nothing."""

    total = 0

    def update(self, count: int) -> None:
        """Nothing to draw."""

    def reset(self) -> None:
        """Nothing to draw."""

    def close(self) -> None:
        """Nothing to draw."""


class _RichMeter:
    """Draws a bar with size, rate and time left."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        self._bar.update(self._task, total=value or None)

    def update(self, count: int) -> None:
        self._bar.advance(self._task, count)

    def reset(self) -> None:
        # pooch calls this before a last update with the total; a rich reset would start the clock anew.
        self._bar.update(self._task, completed=0)

    def close(self) -> None:
        self._bar.refresh()


@contextmanager
def _meter(name: str, progress: bool) -> Iterator[_Meter]:
    if not progress:
        yield _SilentMeter()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        try:
            yield _RichMeter(bar, task)
        except WeightsError:
            bar.update(task, visible=False)  # the next address gets a bar of its own
            raise
