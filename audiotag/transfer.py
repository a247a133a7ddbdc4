"""Bringing a file from an address, over HTTP or from the disk.

Whether a file is there is asked at every start, so what only a transfer needs is imported in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from audiotag.errors import AudiotagError
from audiotag.printing import unfiltered

TIMEOUT_SECONDS = 30.0
"""How long a server may stay silent."""

_CHUNK = 1 << 16


class TransferError(AudiotagError):
    """An address does not give its file."""


def is_plain(url: str) -> bool:
    """Whether `transfer` understands the scheme of *url*.

    Raises:
        TransferError: The address is malformed.
    """
    return _scheme(url)[0] in ("", "file", "http", "https")


def transfer(url: str, destination: Path, name: str, *, progress: bool = False) -> None:
    """Bring the content of *url* into the file *destination*.

    Args:
        url: ``https:``, ``http:``, ``file:`` or a path.
        destination: The file, overwritten.
        name: What the progress bar is called.
        progress: Draw a bar on stderr.

    Raises:
        TransferError: The address does not give the file, or not all of it; the reason is one line.
        OSError: *destination* cannot be written.
    """
    scheme, path = _scheme(url)
    if scheme in ("", "file"):
        _copy(Path(path), destination)
        return
    if scheme not in ("http", "https"):
        raise TransferError(f"the scheme {scheme!r} is not understood")
    import pooch
    import requests

    with _meter(name, progress) as meter:
        downloader = pooch.HTTPDownloader(progressbar=meter, chunk_size=_CHUNK, timeout=TIMEOUT_SECONDS)
        try:
            downloader(url, str(destination), None)
        except requests.RequestException as error:
            if error.response is not None:
                error.response.close()
            raise TransferError(_reason(error)) from error
    size = destination.stat().st_size
    if size < meter.total:  # larger is possible: a server may compress on the way
        raise TransferError(f"the download broke off after {size:,} of {meter.total:,} bytes")


def _scheme(url: str) -> tuple[str, str]:
    """(scheme, path on the disk where the scheme has one)."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise TransferError(f"the address is malformed ({error})") from error
    return parts.scheme, unquote(parts.path) if parts.scheme else url


def _copy(source: Path, destination: Path) -> None:
    import shutil

    try:
        shutil.copyfile(source, destination)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise TransferError(error.strerror or type(error).__name__) from error


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


class _Meter:
    """What pooch expects of a progress bar: it sets `total` from the answer's Content-Length.

    Args:
        draw: Takes the changes of a task as `rich.progress.Progress.update` does.
    """

    total = 0

    def __init__(self, draw: Callable[..., None]) -> None:
        self._draw = draw

    def update(self, count: int) -> None:
        self._draw(total=self.total or None, advance=count)

    def reset(self) -> None:
        # pooch calls this before a last update with the total; a rich reset would start the clock anew.
        self._draw(completed=0)

    def close(self) -> None:
        self._draw(refresh=True)


@contextmanager
def _meter(name: str, progress: bool) -> Iterator[_Meter]:
    if not progress:
        yield _Meter(lambda **changes: None)
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        *(bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn()),
        *(bars.TransferSpeedColumn(), bars.TimeRemainingColumn()),
    )
    with bars.Progress(*columns, console=Console(file=unfiltered(sys.stderr))) as bar:
        task = bar.add_task(name, total=None)
        try:
            yield _Meter(partial(bar.update, task))
        except TransferError:
            bar.update(task, visible=False)  # whoever tries another address gets a bar of its own
            raise
