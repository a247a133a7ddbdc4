"""What reads an HDF5 file in a process of its own: the program that `audiotag.data.archive` starts.

A damaged file can keep the HDF5 library busy for ever, or crash it, and nothing within a process can stop that. So this
one reads, within limits of its own on time and memory. It knows nothing of audiotag, so that it starts fast.

Standard input: a line for each request, ``index`` or the number of a row. Standard output: for each a line of JSON,
``{"sizes": [...], ...}`` or ``{"error": ..., "kind": ...}``, followed by as many bytes as the sizes say.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

ARRAYS = ("audio_name", "mp3", "target")
_INDEX_SECONDS, _ROW_SECONDS = 5.0, 2.0
"""Seconds of computing after which a request ends the process; waiting for a disk is none. A row takes milliseconds."""
_BYTES_A_SECOND = 100e6
"""Size of an archive that gives a second more for its names: two million clips are 100 GB, and take ten seconds."""
_MOST_SQUEEZED = 1100
"""No compression that HDF5 has comes near it; what claims more was never written."""
_MOST_MEMORY = 8 << 30
"""Bytes of address space: what a damaged file claims to hold is not asked of the machine."""


class Wrong(Exception):
    """The file is no archive of ours."""


def main(path: str) -> None:
    """Serve the archive at *path* until the input ends."""
    _bound_memory()
    size = os.stat(path).st_size  # noqa: PTH116 # without pathlib it starts faster
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    file = None
    for line in requests:
        is_index = line.strip() == b"index"
        _bound_time(_INDEX_SECONDS + size / _BYTES_A_SECOND if is_index else _ROW_SECONDS)
        try:
            if file is None:
                opened = h5py.File(path, "r")
                _check_links(opened)
                file = opened
            if is_index:
                facts, parts = _index(file)
            else:
                facts, parts = {}, [np.asarray(file["mp3"][int(line)], dtype=np.uint8).tobytes()]
            header = {**facts, "sizes": [len(part) for part in parts]}
        except Exception as error:  # whatever the library makes of a damaged file
            kind = "wrong" if isinstance(error, Wrong) else "damaged"
            header, parts = {"error": f"{error}" or type(error).__name__, "kind": kind}, []
        _bound_time(0.0)
        replies.write(json.dumps(header).encode() + b"\n")
        for part in parts:
            replies.write(part)
        replies.flush()


def _check_links(file: Any) -> None:
    """Refuse an archive whose arrays lie in another file: reading it would hand out what that file holds."""
    for name in {*ARRAYS} & {*file}:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise Wrong(f"its array {name!r} is a link")
        array = file.get(name)
        if isinstance(array, h5py.Dataset) and (array.external or array.is_virtual):
            raise Wrong(f"its array {name!r} lies in another file")


def _index(file: Any) -> tuple[dict[str, Any], list[bytes]]:
    if missing := [name for name in ARRAYS if not isinstance(file.get(name), h5py.Dataset)]:
        raise Wrong(f"the HDF5 file has no array {', '.join(map(repr, missing))}")
    target = file["target"]
    shapes = {name: file[name].shape for name in ARRAYS}
    fits = all(shapes.values()) and len({shape[0] for shape in shapes.values()}) == 1
    if not fits or target.ndim != 2 or target.dtype != np.uint8 or file["audio_name"].ndim != 1:
        raise Wrong(
            f"the arrays do not fit: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}, "
            f"target of {target.dtype}"
        )
    for name in ("audio_name", "target"):
        if file[name].nbytes > _MOST_SQUEEZED * file[name].id.get_storage_size():
            raise Wrong(f"the array {name!r} claims to be larger than what the file holds")
    names = [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in file["audio_name"][()]]
    packed = np.asarray(target[()])
    return {"shape": packed.shape}, [json.dumps(names).encode(), packed.tobytes()]


def _bound_time(seconds: float) -> None:
    """Let the system end this process after so many seconds of computing; 0 takes that back."""
    if hasattr(signal, "setitimer"):  # Windows has none; there the one who waits ends it
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows, where the time has to do
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = _MOST_MEMORY if hard == resource.RLIM_INFINITY else min(_MOST_MEMORY, hard)
    with suppress(ValueError, OSError):  # macOS may refuse it
        resource.setrlimit(resource.RLIMIT_AS, (bound if soft == resource.RLIM_INFINITY else min(soft, bound), hard))


if __name__ == "__main__":
    main(sys.argv[1])
