"""The exceptions of audiotag: one tree, so that ``except AudiotagError`` catches every foreseen failure.

Each message says what happened, to which file or name, and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from audiotag.printing import printable, printable_name

EMPTY = "Is it a variable that is not set? A dot is the current folder."
"""What can be done about an empty path, which most programs take for the current folder."""

EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(
        ("torch", "torchaudio", "timm", "lightning_fabric", "pandas", "sklearn", "scipy"), "audiotag[torch]"
    ),
    **dict.fromkeys(("onnx", "onnxscript"), "audiotag[export]"),
    "matplotlib": "audiotag[plots]",
    "pyarrow": "audiotag[parquet]",
    **dict.fromkeys(("av", "PIL"), "audiotag[video]"),
    "h5py": "audiotag[hdf5]",
    "huggingface_hub": "audiotag[hub]",
    "usearch": "audiotag[search]",
    **dict.fromkeys(("starlette", "uvicorn", "python_multipart", "prometheus_client"), "audiotag[serve]"),
    "sounddevice": "audiotag[live]",
    "tensorboard": "audiotag[tensorboard]",
    "wandb": "audiotag[wandb]",
    "paho": "audiotag[live]",
}
"""Package that an installation may lack → what brings it."""


class AudiotagError(Exception):
    """A foreseen failure.

    Args:
        what: What happened, as a sentence without a final stop.
        where: The file, clip, key or name it happened to.
        fix: What the reader can do now, as a sentence.
    """

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        self._for_command_line = _on_command_line
        super().__init__(str(self))

    def __str__(self) -> str:
        place = "" if self.where is None else f"{printable_name(self.where)}: "
        advice = "" if self.fix is None else f" {self.fix}"
        said = f"{self.what.rstrip('.')}.{advice}"
        return printable(f"{place}{said if self._for_command_line else in_python(said)}")

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes pass exceptions on by pickling; keyword arguments would be lost otherwise.
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(kind: type[AudiotagError], what: str, where: str | None, fix: str | None) -> AudiotagError:
    return kind(what, where=where, fix=fix)


_on_command_line = False


@contextmanager
def command_line() -> Iterator[None]:
    """Within, errors name options as the command line does; otherwise they do as Python does: ``fold=``."""
    global _on_command_line
    before, _on_command_line = _on_command_line, True
    try:
        yield
    finally:
        _on_command_line = before


_COMMAND_OR_OPTION = re.compile(
    r"(?P<command>`[^`]*`|(?:audiotag|pip install) [^,;)]*)"
    r"|(?<![\w/-])--(?P<option>[a-z][a-z-]*)(?:[= ](?P<number>\d[\w.-]*|[A-Z]+\b)|=(?P<word>[^\s,;)]*[^\s,;).]))?"
)
_FLAGS = ("cross-validate", "freeze-backbone", "keep-epochs", "overwrite", "refresh", "resume", "single-label")
_OTHERWISE = {
    "augment": "augmentations",
    "augment-option": "augmentation_options",
    "loss-option": "loss_options",
    "optimiser-option": "optimiser_options",
    "option": "options",
    "sampler-option": "sampler_options",
    "tune-thresholds": "tune_thresholds_on",
}


def in_python(text: str) -> str:
    """*text*, which names options as the command line does (``--val-fraction 0``), for Python (``val_fraction=0``).

    What follows ``audiotag`` or stands between back ticks is a command, and stays one.
    """

    def spelled(match: re.Match[str]) -> str:
        option = match["option"]
        if option is None:
            return match[0]
        if option == "multi-label":
            return "single_label=False"
        value = match["number"] or (match["word"] and repr(match["word"])) or ("True" if option in _FLAGS else "")
        return f"{_OTHERWISE.get(option, option.replace('-', '_'))}={value}"

    return _COMMAND_OR_OPTION.sub(spelled, text)


class AudiotagWarning(UserWarning):
    """Something that the work goes on in spite of, and that its user should know."""


class AudioError(AudiotagError):
    """A recording cannot be read or holds no usable samples."""


class RecordingWarning(AudiotagWarning):
    """A recording was read, and something about it is worth knowing; said once for each."""


class LabelError(AudiotagError):
    """A class list or a clip's label is wrong."""


class ManifestError(AudiotagError):
    """A list of clips (JSON, CSV, folder) is wrong."""


class OptionError(AudiotagError):
    """An option or setting has a value that cannot work."""


class OutputError(AudiotagError):
    """A file or folder cannot be written, or an output not be had."""


class PluginError(AudiotagError):
    """A plugin is broken or breaks the rules of the host."""


class NameTakenError(PluginError):
    """Two distributions register one name."""


class UnknownNameError(AudiotagError):
    """No plugin has registered a name."""


class CheckpointError(AudiotagError):
    """A checkpoint cannot be read, or does not fit the network it is loaded into."""


class WeightsError(AudiotagError):
    """Published weights cannot be had, or are not what they should be."""


class TrainingError(AudiotagError):
    """Training cannot start, go on or resume."""


class StoreError(AudiotagError):
    """A store of clips on disk is damaged, full or in use."""


class MissingExtraError(AudiotagError):
    """An optional dependency is needed and not installed."""

    @classmethod
    def of(
        cls, error: BaseException, purpose: str, *, where: object = None, extras: Mapping[str, str] = EXTRAS
    ) -> Self | None:
        """What to say where *purpose* ended with *error*; None where it is no missing package of *extras*."""
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        requirement = extras.get(missing.partition(".")[0])
        if requirement is None:
            return None
        return cls(
            f"{purpose} needs the package {missing!r}, which is not installed",
            where=where,
            fix=f"Install it with: pip install '{requirement}'",
        )


@contextmanager
def needed_for(
    purpose: str, *, error: type[MissingExtraError] = MissingExtraError, extras: Mapping[str, str] = EXTRAS
) -> Iterator[None]:
    """Import within what *purpose* (``"drawing figures"``) needs and an installation may lack.

    Args:
        purpose: What cannot be done without.
        error: The kind to raise.
        extras: Package → what brings it; a plugin gives its own.

    Raises:
        MissingExtraError: A package of *extras* is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        told = error.of(missing, purpose, extras=extras)
        if told is None:
            raise
        raise told from missing


def suggest(name: str, known: Iterable[str], count: int = 3) -> str | None:
    """A sentence with the *known* names closest to *name*, or None where nothing is close."""
    from difflib import get_close_matches

    choices = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), list(choices), n=count, cutoff=0.6)
    if not close:
        return None
    return "Did you mean " + " or ".join(repr(choices[match]) for match in close) + "?"
