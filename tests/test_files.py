import os
import signal
import stat
import subprocess
import sys

import pytest

from audiotag.files import atomic_path, remove_abandoned, write_atomically

WRITER = """
import sys
from audiotag.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half of it")
    print("written", flush=True)
    sys.stdin.read()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing tmp_path / "net.pt"; it ends when its standard input does."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "net.pt")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "file") as temporary:
        temporary.write_bytes(b"new")
        assert (tmp_path / "file").read_bytes() == b"old"
        raise ZeroDivisionError
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_file_is_readable_as_others_are_even_when_its_writer_replaces_the_temporary_one(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "file") as temporary:
        (tmp_path / "other").write_bytes(b"content")
        (tmp_path / "other").chmod(0o600)
        (tmp_path / "other").replace(temporary)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="it takes locks that Windows has not")
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, writer):
    (tmp_path / ".hidden").touch()
    assert remove_abandoned(tmp_path) == []
    assert len(names(tmp_path)) == 2
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    (removed,) = remove_abandoned(tmp_path)
    assert removed.name.startswith(".net.pt.")
    assert names(tmp_path) == [".hidden"]


@pytest.mark.skipif(sys.platform == "win32", reason="it takes locks that Windows has not")
def test_a_writer_goes_on_after_others_have_looked(tmp_path, writer):
    remove_abandoned(tmp_path)
    writer.communicate("", timeout=60)
    assert writer.returncode == 0
    assert names(tmp_path) == ["net.pt"]
    assert (tmp_path / "net.pt").read_bytes() == b"half of it"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert remove_abandoned(tmp_path / "nowhere") == []
