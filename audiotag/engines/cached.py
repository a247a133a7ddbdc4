"""Exports of registered models, kept so that tagging on the CPU is quick: `audiotag models export NAME` makes them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from audiotag.cache.place import Usage, cache_folder, cache_key
from audiotag.errors import AudiotagError, CheckpointError, OptionError
from audiotag.folders import current_folder
from audiotag.host import get_host
from audiotag.models.facts import EXPORT_FORMAT, FACTS_FILE, folder_format
from audiotag.models.store import WeightsStore
from audiotag.places import exists, is_link
from audiotag.specs import BackboneSpec

if TYPE_CHECKING:
    from audiotag.engines.exported import Exported

_NAMED = re.compile(r"[^.].*-[0-9a-f]{12}")
_DEVICES_OF_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def export_place(spec: BackboneSpec) -> Path:
    """Where the export of a registered model is, or would be: another version of its plugin has another place.

    Raises:
        OptionError: *spec* is a family, without weights.
    """
    if spec.weights is None:
        raise OptionError(
            "it is a family of networks and has no published weights",
            where=spec.name,
            fix="Export a run or checkpoint: audiotag export FOLDER --output FOLDER.",
        )
    owner = get_host().owner(spec)
    key = cache_key(owner.distribution, owner.version, sorted(spec.options.items()), *spec.weights.urls)
    return exports_folder() / f"{spec.name}-{key[:12]}"


def exports_folder() -> Path:
    """The folder of all of them."""
    return cache_folder() / "exports"


def cached_export(name: str | Path) -> Exported | None:
    """The kept export of the registered model *name*; None where there is none.

    Raises:
        CheckpointError: There is one that is damaged, or was made of other weights or by another version of the plugin.
    """
    host = get_host()
    if not isinstance(name, str) or not host.knows_backbone(name):
        return None
    spec = host.backbone(name)
    if spec.weights is None:
        return None
    place = export_place(spec)
    if not exists(current_folder(place)):
        others = [one for one in ExportsRoom.folders() if one.name.rpartition("-")[0] == spec.name]
        if others:
            owner = host.owner(spec)
            now = f"{owner.distribution} {owner.version}"
            raise _stale(
                f"it was made of other weights or by another version of the plugin, now {now}", others[0], spec
            )
        return None
    from audiotag.engines.exported import read_exported

    try:
        exported = read_exported(place)
    except AudiotagError as error:
        raise _stale(error.what, error.where or place, spec) from error
    made_of, now_there = exported.metadata.get(DIGESTS), weights_digests(spec)
    if isinstance(made_of, dict) and any(made_of.get(file, digest) != digest for file, digest in now_there.items()):
        raise _stale("it was made of other weights than this name has now", place, spec)
    return exported


DIGESTS = "weights_sha256"
"""The entry of a kept export's metadata that holds `weights_digests`."""


def weights_digests(spec: BackboneSpec) -> dict[str, str]:
    """SHA-256 of each file of the weights, by name, as published or else as recorded here; others are left out."""
    store, files = WeightsStore(), () if spec.weights is None else spec.weights.files
    digests = {file.filename: file.sha256 or store.recorded_sha256(file) for file in files}
    return {name: digest for name, digest in digests.items() if digest is not None}


def _stale(what: str, where: str | Path, spec: BackboneSpec) -> CheckpointError:
    fix = f"Make it again: audiotag models export {spec.name}"
    return CheckpointError(f"the kept export of {spec.name!r} cannot be used: {what}", where=where, fix=fix)


def may_have_accelerator() -> bool:
    """Whether it is worth asking torch for an accelerator, told without importing it."""
    if find_spec("torch") is None:
        return False
    return sys.platform != "linux" or any(map(exists, _DEVICES_OF_ACCELERATORS))


class ExportsRoom:
    """The exports as a part of the cache (see `audiotag.cache.place.Room`)."""

    def usage(self) -> Usage:
        """What is there."""
        return self._usage(self.folders())

    def clear(self, before: float | None = None) -> Usage:
        """Remove all, or those that were made before that moment, and say how much."""
        going = [one for one in self.folders() if before is None or (one / FACTS_FILE).stat().st_mtime < before]
        usage = self._usage(going)
        for folder in going:
            shutil.rmtree(folder)
        return usage

    @staticmethod
    def _usage(folders: Sequence[Path]) -> Usage:
        files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
        return Usage(len(folders), sum(file.stat().st_size for file in files))

    @staticmethod
    def folders() -> list[Path]:
        """Those that `export_place` has named; none is reached through a link."""
        place = exports_folder()
        if is_link(place) or not place.is_dir():
            return []
        return [
            folder
            for folder in sorted(place.iterdir())
            if _NAMED.fullmatch(folder.name)
            and not is_link(folder)
            and folder_format(current_folder(folder)) == EXPORT_FORMAT
        ]
