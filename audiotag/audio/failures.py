"""The boundary around decoders: what they raise is an `AudioError` of the recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from audiotag.errors import AudioError, AudiotagError


@contextmanager
def decoding(
    recording: object,
    what: str = "the file is damaged or truncated",
    fix: str = "Copy or download it again, or convert it to WAV or FLAC.",
) -> Iterator[None]:
    """Whatever a decoder raises inside is an error of *recording*, so that one odd file never ends a run.

    Decoders of damaged files answer with many kinds of exceptions: libsndfile's and FFmpeg's own, and ValueError,
    OverflowError or UnicodeDecodeError of the layers above them. Only what is about the machine or the user goes
    through: a package that is not installed, want of memory (FFmpeg's is not; a damaged header asks for terabytes) and
    Ctrl-C.

    Args:
        recording: File or name for the message.
        what: What the message says before the decoder's own words.
        fix: What the reader can do.
    """
    try:
        yield
    except (AudiotagError, ModuleNotFoundError):
        raise
    except Exception as error:
        if isinstance(error, MemoryError) and not hasattr(error, "errno"):
            raise
        if type(error) is PermissionError:  # that of the system; FFmpeg has one of its own
            what, fix = "the file cannot be read", "Check its permissions."
        raise AudioError(f"{what} ({_words(error)})", where=recording, fix=fix) from error


def truncated(recording: object, promised: str, found: str) -> AudioError:
    """What is told of a recording that holds less than it *promised*."""
    what = f"the file is truncated: it promises {promised} and holds {found}"
    return AudioError(what, where=recording, fix="Copy or download it again.")


def _words(error: Exception) -> str:
    if type(error).__name__ == "ExitError":  # FFmpeg's "Immediate exit requested", of a wait that has become too long
        return "nothing has come for too long"
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".") or type(error).__name__
