"""What a frozen network makes of clips, kept on disk so that it is computed once."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import StoreError, UnknownNameError
from audiotag.files import writing
from audiotag.host import get_host
from audiotag.models.create import resolved_options
from audiotag.models.model import Model

_BATCH = 500


def backbone_fingerprint(model: Model) -> str:
    """A hash of what the head is given by: options, parameters and statistics, without the head."""
    return _fingerprint(model, leaving_out=set(model.backbone.head_keys()))


def model_fingerprint(model: Model) -> str:
    """A hash of the options, parameters and statistics that decide a clip's logits."""
    return _fingerprint(model, leaving_out=set())


def _fingerprint(model: Model, leaving_out: set[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    options = sorted(map(repr, resolved_options(model.spec, model.options).items()))
    digest.update(repr((model.spec.factory, options, model.backbone.extra_state())).encode())
    for key, tensor in sorted(model.backbone.state_dict().items()):
        if key not in leaving_out:
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def code_fingerprint(model: Model) -> str:
    """A hash of the code that makes and runs the network, since the same weights mean something else in other code.

    It covers distribution and version of the plugin, every source file of the packages that the factory and the
    network's class are in, the modules of this package that layers come from, and the versions of other libraries.
    """
    network = model.backbone
    try:
        owner = get_host().owner(model.spec)
        plugin = (owner.distribution, owner.version)
    except UnknownNameError:  # a network of somebody's own, whose descriptor no plugin registers
        plugin = ("", "")
    modules = {model.spec.factory.partition(":")[0], *(one.__module__ for one in type(network).__mro__)}
    own = {name.partition(".")[0] for name in modules} - {_CORE, "builtins", "abc", "torch"}
    modules |= {type(layer).__module__ for layer in network.modules()}
    digest = hashlib.blake2b(repr(plugin).encode(), digest_size=16)
    for path in sorted({path for package in own for path in _sources(package)}):
        digest.update(path.read_bytes())
    for name in sorted(modules):
        package, module = name.partition(".")[0], sys.modules.get(name)
        if package == _CORE and module is not None and module.__file__ is not None:
            digest.update(Path(module.__file__).read_bytes())
        elif package not in own:
            digest.update(f"{package} {getattr(sys.modules.get(package), '__version__', '')}".encode())
    return digest.hexdigest()


_CORE = __name__.partition(".")[0]


def _sources(package: str) -> list[Path]:
    """The source files of a package or of a module that stands alone."""
    module = sys.modules.get(package)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    file = getattr(module, "__file__", None)
    found = [path for folder in folders for path in folder.rglob("*.py")]
    return found or ([Path(file)] if file is not None else [])


class EmbeddingStore:
    """Arrays by key in one SQLite file; several processes may use it at once.

    Args:
        path: The file, made where it does not exist.

    Raises:
        StoreError: The file is not such a store, or cannot be used.
        OutputError: Its folder cannot be made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(self.path, timeout=60.0)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS arrays "
                "(key TEXT PRIMARY KEY, shape TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"
            )
        except sqlite3.OperationalError as error:  # a full disk, a folder without permission, another program's lock
            raise StoreError(
                f"the store of embeddings cannot be used: {error}",
                where=self.path,
                fix="Make room there, or name another folder in AUDIOTAG_CACHE.",
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"it is not a store of embeddings: {error}",
                where=self.path,
                fix="Delete it; it is made anew.",
            ) from error

    def get(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The arrays there are for *keys*, float32."""
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            marks = ",".join("?" * len(part))
            for key, shape, data in self._connection.execute(
                f"SELECT key, shape, data FROM arrays WHERE key IN ({marks})", part
            ):
                found[key] = np.frombuffer(data, dtype="<f4").reshape([int(size) for size in shape.split(",")])
        return found

    def put(self, arrays: Mapping[str, NDArray[np.float32]] | Iterable[tuple[str, NDArray[np.float32]]]) -> None:
        """Keep *arrays* under their keys, in one transaction.

        Raises:
            StoreError: The disk is full or the file cannot be written.
        """
        rows = [
            (key, ",".join(map(str, array.shape)), np.ascontiguousarray(array, dtype="<f4").tobytes())
            for key, array in dict(arrays).items()
        ]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise StoreError(
                f"embeddings cannot be kept: {error}", where=self.path, fix="Free some space on the disk."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> EmbeddingStore:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
