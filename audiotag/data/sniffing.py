"""Which format or data set a path is read by."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from audiotag.data.clips import Dataset
from audiotag.data.formats.tables import columns_of
from audiotag.data.prepared import read_preparation
from audiotag.errors import AudiotagWarning, ManifestError, PluginError
from audiotag.host import get_host
from audiotag.host.needs import needed
from audiotag.places import is_file, is_folder
from audiotag.specs import DatasetSpec


def sniff_format(source: Path) -> str:
    """The name of the format that recognises *source*.

    A plugin's format that fails at the question, or says yes to an empty file as well, is passed over with an
    `AudiotagWarning` where another format is found.

    Raises:
        ManifestError: None does, or several do.
        PluginError: None does, and one has failed at the question.
    """
    if is_file(source) and source.stat().st_size == 0:
        raise ManifestError("the file is empty", where=source, fix="Copy or write it again.")
    if (prepared := read_preparation(source)) is not None:
        # Its folders would look like classes otherwise.
        name, brought = prepared.dataset, prepared.plugin
        spec = needed("the prepared folder", DatasetSpec, name, distribution=brought, error=ManifestError, where=source)
        return str(spec.name)
    fitting = [name for name, spec in get_host().datasets.items() if is_called_so(source, spec)]
    datasets: dict[str, Dataset] = {}
    recognising: list[str] = []
    failed: list[PluginError] = []
    for name in fitting:
        try:
            datasets[name] = load_dataset(name)
            if _recognises(name, datasets[name], source):
                recognising.append(name)
        except PluginError as error:
            failed.append(error)
    if len(recognising) > 1:
        recognising = _without_credulous(recognising, datasets, source) or recognising
    recognising = [name for name in recognising if not datasets[name].last_resort] or recognising
    if len(recognising) > 1:
        raise ManifestError(
            f"it fits several formats ({', '.join(recognising)})", where=source, fix="Name one with --format."
        )
    if failed and not recognising:
        raise failed[0]
    for failure in failed:
        warnings.warn(str(failure), AudiotagWarning, stacklevel=2)
    if recognising:
        return recognising[0]
    likely = fitting if len(fitting) == 1 else [name for name in fitting if datasets[name].last_resort]
    if len(likely) == 1:
        return likely[0]  # whose own error says better what is wrong than "no format fits"
    if tables := {name: dataset for name, dataset in datasets.items() if dataset.columns}:
        return _closest_table(source, tables)
    specs = get_host().datasets
    known = "; ".join(f"{name}: {specs[name].summary}" for name in fitting or specs)
    raise ManifestError("no format of labelled clips fits it", where=source, fix=f"The formats are: {known}.")


def _closest_table(source: Path, tables: Mapping[str, Dataset]) -> str:
    """The format of tables that shares most columns with *source*: its own error says what is missing.

    Raises:
        ManifestError: None does, or several do.
    """
    found = columns_of(source)
    shared = {name: max(len({*form} & {*found}) for form in dataset.columns) for name, dataset in tables.items()}
    closest = [name for name, count in shared.items() if count == max(shared.values())]
    if len(closest) == 1:
        return closest[0]
    forms = "; ".join(f"{name}: {' or '.join(map(','.join, tables[name].columns))}" for name in closest)
    named = ",".join(found)
    raise ManifestError(
        "no format of labelled clips fits it: the columns of its first line are "
        + (f"{named[:100]}{'…' if len(named) > 100 else ''}" if found else "none"),
        where=source,
        fix=f"The columns must be, for {forms}.",
    )


def is_called_so(source: Path, spec: DatasetSpec) -> bool:
    """Whether a format is asked about *source* at all: by its ending, or as a folder."""
    if is_folder(source):
        return "/" in spec.extensions
    return source.name.lower().endswith(tuple(ending.lower() for ending in spec.extensions if ending != "/"))


def _recognises(name: str, dataset: Dataset, source: Path) -> bool:
    host = get_host()
    with host.running(host.dataset(name), f"asking whether {source} is {name}"):
        return bool(dataset.recognises(source))


def _without_credulous(names: list[str], datasets: dict[str, Dataset], source: Path) -> list[str]:
    """Those of *names* that do not take an empty file (or folder) called like *source* for theirs, and last resorts."""
    kept = []
    with TemporaryDirectory() as folder:
        empty = Path(folder) / f"empty{''.join(source.suffixes)}"
        empty.mkdir() if is_folder(source) else empty.touch()
        for name in names:
            try:
                credulous = not datasets[name].last_resort and _recognises(name, datasets[name], empty)
            except PluginError:
                credulous = False
            if not credulous:
                kept.append(name)
    host = get_host()
    for name in set(names) - set(kept) if kept else ():
        warnings.warn(
            f"the format {name!r} of the {host.owner(host.dataset(name)).place} says that it recognises an empty "
            "file too, and is passed over; name it with --format where it is meant",
            AudiotagWarning,
            stacklevel=3,
        )
    return kept


def load_dataset(name: str) -> Dataset:
    """The format or data set that is registered under *name*.

    Raises:
        UnknownNameError: There is none.
        PluginError: Its factory returns something else.
    """
    host = get_host()
    spec = host.dataset(name)
    dataset = host.make(spec)
    if not isinstance(dataset, Dataset):
        raise host.not_a("Dataset", spec, dataset)
    return dataset
