from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
if "closed" in sys.argv:
    sys.stdout = None
from audiotag.cli.main import _prepare_streams
_prepare_streams()
print("caf\\udce9 \u2500")
"""


def printed(*arguments: str, encoding: str = "utf-8") -> bytes:
    environment = {"PYTHONIOENCODING": encoding, "PATH": "", "SYSTEMROOT": ""}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, env=environment, check=True, timeout=60
    )
    return done.stdout.rstrip()


def test_what_an_encoding_lacks_is_printed_all_the_same() -> None:
    assert printed() == b"caf\xe9 \xe2\x94\x80"
    assert printed(encoding="ascii") == b"caf\xe9 \\u2500"


def test_a_closed_output_is_no_failure() -> None:
    assert printed("closed") == b""
