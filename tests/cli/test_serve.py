"""``audiotag serve`` as users call it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from reviewed import make

from audiotag.cli.main import main


@pytest.fixture
def detections(tmp_path: Path) -> str:
    return str(make(tmp_path / "sounds").detections)


@contextmanager
def _served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server, and the address that it says."""
    command = [sys.executable, "-m", "audiotag", "serve", "--port", "0", "--quiet", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server, server.stdout.readline().strip()
        finally:
            server.kill()


def _ends(server: subprocess.Popen[str], number: int) -> None:
    server.send_signal(number)
    output, errors = server.communicate(timeout=30)
    assert (server.returncode, output, errors) == (128 + number, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_its_address_and_ends_cleanly(detections: str, number: int) -> None:
    with _served(detections) as (server, address):
        assert address.startswith("http://127.0.0.1:")
        assert urllib.request.urlopen(f"{address}static/page.css").status == 200
        _ends(server, number)


def test_other_machines_are_given_a_token_to_show(detections: str) -> None:
    with _served(detections, "--host", "0.0.0.0") as (server, address):
        address, _, token = address.partition("?token=")
        assert len(token) >= 16
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(f"{address}static/page.css")
        refused.value.close()
        asked = urllib.request.Request(f"{address}static/page.css", headers={"Authorization": f"Bearer {token}"})
        assert urllib.request.urlopen(asked).status == 200
        _ends(server, signal.SIGTERM)


def test_a_port_that_is_taken_is_said(detections: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = CliRunner().invoke(main, ["serve", detections, "--port", str(taken.getsockname()[1])])
    assert failed.exit_code == 1 and "another program listens there" in str(failed.exception)


def test_a_short_token_is_refused(detections: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("1234\n")
    failed = CliRunner().invoke(main, ["serve", detections, "--token-file", str(tmp_path / "token")])
    assert failed.exit_code == 1 and "the token has 4 letters" in str(failed.exception)
