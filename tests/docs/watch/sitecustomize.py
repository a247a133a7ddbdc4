"""Notes what this process, and every Python that it starts, opens for writing, removes, starts and connects to.

On the PYTHONPATH of a process with ``AUDIOTAG_WATCH``, a file, one JSON array a line is added to that: the name of the
audit event and its arguments as text. What is read is noted in ``AUDIOTAG_WATCHED_FOLDER`` alone.
Nothing but this machine can be reached, and with ``AUDIOTAG_READ_ONLY`` nothing outside ``TMPDIR`` can be written.
"""
# It runs at every start of Python, before pathlib is there.
# ruff: noqa: PTH109, PTH113, PTH115, PTH118

import json
import os
import sys

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LOCAL = ("127.0.0.1", "localhost", "::1", None)


def _note(event, arguments):
    line = json.dumps([event, *(os.fsdecode(one) if isinstance(one, bytes) else str(one) for one in arguments)])
    os.write(_notes, line.encode("utf-8", "backslashreplace") + b"\n")


def _place(path, folder=-1):
    """An absolute path, of a name in an open *folder* too."""
    if not isinstance(path, str | bytes | os.PathLike):
        return path
    beside = os.getcwd() if folder in (-1, None) else os.readlink(f"/proc/self/fd/{folder}")
    return os.path.normpath(os.path.join(beside, os.fsdecode(path)))


def _hook(event, arguments):
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not isinstance(path, str | bytes | os.PathLike):
            return
        place = _place(path)
        if flags & _WRITING:
            _note("write", [place])
            if "AUDIOTAG_READ_ONLY" in os.environ and not place.startswith((os.environ["TMPDIR"], "/dev/")):
                raise OSError(30, os.strerror(30), place)
        elif place.startswith(_folder) and os.path.isfile(place):
            _note("read", [place])
    elif event in ("os.remove", "os.rmdir"):
        _note(event, [_place(*arguments)])
    elif event == "os.rename":
        _note(event, [_place(arguments[0], arguments[2]), _place(arguments[1], arguments[3])])
    elif event == "os.mkdir":
        _note(event, [_place(arguments[0], arguments[2])])
    elif event == "sqlite3.connect":
        _note(event, [_place(os.fsdecode(arguments[0]).removeprefix("file:").partition("?")[0])])
    elif event == "socket.connect":
        _note(event, [*arguments[1]] if isinstance(arguments[1], tuple) else ["unix"])
        if isinstance(arguments[1], tuple) and arguments[1][0] not in _LOCAL:
            raise ConnectionRefusedError
    elif event == "socket.getaddrinfo":
        _note(event, arguments[:2])
        if arguments[0] not in _LOCAL:
            raise sys.modules["socket"].gaierror(-2, "no network in a test")
    elif event == "pickle.find_class":
        _note(event, arguments[:2])
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        _note(event, arguments[:1])
    elif event in ("os.link", "os.symlink", "os.truncate"):
        _note(event, [_place(one) for one in arguments[:2]])


if "AUDIOTAG_WATCH" in os.environ:
    _folder = os.environ["AUDIOTAG_WATCHED_FOLDER"] + os.sep
    _notes = os.open(os.environ["AUDIOTAG_WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sys.addaudithook(_hook)
