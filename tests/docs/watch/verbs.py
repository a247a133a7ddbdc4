"""Runs ``audiotag`` commands one after another in one process, and says what each did: see `sitecustomize`.

A line of standard input is JSON, a list of argument lists and environment variables for them; it is answered by a line
of JSON, for each command its exit code, what it printed, the events, and which files of the folder in
``AUDIOTAG_WATCHED_FOLDER`` it added, changed and removed.
"""

import contextlib
import gc
import io
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

import click

ROOT = Path(os.environ["AUDIOTAG_WATCHED_FOLDER"])
NOTES = Path(os.environ["AUDIOTAG_WATCH"])


def look():
    """Every file and link below the folder, with what changes when it is written."""
    found = {}
    for folder, _, names in os.walk(ROOT):
        for name in names:
            status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 # many files
            found[os.path.join(folder, name)] = (status.st_size, status.st_mtime_ns, status.st_ino)  # noqa: PTH118
    return found


def call(arguments):
    from audiotag.cli.main import main
    from audiotag.errors import AudiotagError

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(arguments, prog_name="audiotag", standalone_mode=False)
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except (AudiotagError, click.ClickException) as error:
            code = 1
            print(error.format_message() if isinstance(error, click.ClickException) else error)
        except Exception:  # a traceback of a verb is what the tests look for, and the next verb is watched all the same
            code = 2
            traceback.print_exc()
    return code, printed.getvalue()


def run(arguments):
    before, begin, started = look(), NOTES.stat().st_size, time.monotonic()
    code, printed = call(arguments)
    gc.collect()  # a file that is left to the end of a process is closed here
    gc.freeze()  # what is left are modules: there is no need to go through them again
    after = look()
    with NOTES.open() as notes:
        notes.seek(begin)
        events = [event for event in map(json.loads, notes) if event != ["read", str(NOTES)]]
    return {
        "arguments": arguments,
        "code": code,
        "seconds": time.monotonic() - started,
        "printed": printed,
        "events": events,
        "added": sorted(after.keys() - before.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
        "removed": sorted(before.keys() - after.keys()),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    usual = dict(os.environ)
    for line in sys.stdin:
        commands, variables = json.loads(line)
        os.environ.update(variables)
        print(json.dumps([run(arguments) for arguments in commands]), file=answers, flush=True)
        for name in variables:
            del os.environ[name]
        os.environ.update(usual)
