import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from audiotag.errors import OptionError, OutputError
from audiotag.files import atomic_path, check_output, refuse_inputs, remove_abandoned, write_atomically, writing

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
    others = [".hidden", ".net.pt.abc.part", ".net.pt.part", "net.pt.part"]
    for name in others:
        (tmp_path / name).touch()
    assert remove_abandoned(tmp_path) == []
    assert len(names(tmp_path)) == 1 + len(others)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    (removed,) = remove_abandoned(tmp_path)
    assert removed.name.startswith(".net.pt.")
    assert names(tmp_path) == sorted(others)


@pytest.mark.skipif(sys.platform == "win32", reason="it takes locks that Windows has not")
def test_the_next_writer_of_a_file_removes_what_a_killed_one_left_of_it(tmp_path, writer):
    write_atomically(tmp_path / "net.pt", b"while the other one lives")
    assert len(names(tmp_path)) == 2
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    write_atomically(tmp_path / "other", b"")
    assert len(names(tmp_path)) == 3
    write_atomically(tmp_path / "net.pt", b"whole")
    assert names(tmp_path) == ["net.pt", "other"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_what_only_looks_like_a_leftover_is_not_written_over(tmp_path):
    (tmp_path / "letter").write_text("mine")
    os.link(tmp_path / "letter", tmp_path / ".net.pt.0.audiotag-part")
    (tmp_path / ".net.pt.1.audiotag-part").symlink_to(tmp_path / "letter")
    (tmp_path / ".net.pt.2.audiotag-part").mkdir()
    write_atomically(tmp_path / "net.pt", b"whole")
    assert (tmp_path / "letter").read_text() == "mine"
    assert (tmp_path / "net.pt").read_bytes() == b"whole"
    assert len(names(tmp_path)) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="it takes locks that Windows has not")
def test_a_writer_goes_on_after_others_have_looked(tmp_path, writer):
    remove_abandoned(tmp_path)
    writer.communicate("", timeout=60)
    assert writer.returncode == 0
    assert names(tmp_path) == ["net.pt"]
    assert (tmp_path / "net.pt").read_bytes() == b"half of it"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert remove_abandoned(tmp_path / "nowhere") == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    for name in ("there", "not yet there"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "there").write_text("old")
    (tmp_path / "disk" / "there").chmod(0o640)
    for name in ("there", "not yet there"):
        write_atomically(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "disk" / name).read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "disk" / "there").stat().st_mode) == 0o640
    assert names(tmp_path / "disk") == ["not yet there", "there"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_written_into_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    heard = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    check_output(tmp_path / "link")
    write_atomically(tmp_path / "link", b"content")
    reader.join(60)
    assert heard == [b"content"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["link", "pipe"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no device files")
def test_a_device_and_what_this_program_prints_to_are_written_into(tmp_path):
    before = Path("/dev/null").stat()
    write_atomically("/dev/null", b"gone")
    with atomic_path("/dev/null") as path, path.open("wb") as file:
        np.savez(file, a=np.zeros(3))  # which seeks
    assert os.path.samestat(before, Path("/dev/null").stat())
    script = "from audiotag.files import write_atomically as w; w('out', b'through the link\\n'); print('and more')"
    (tmp_path / "out").symlink_to("/proc/self/fd/1")
    for target in ("file", None):
        with (tmp_path / "file").open("wb") as file:
            output = file if target else subprocess.PIPE
            done = subprocess.run([sys.executable, "-c", script], stdout=output, cwd=tmp_path, timeout=60, check=True)
        assert (tmp_path / "out").is_symlink()
        if target is None:
            assert done.stdout == b"through the link\nand more\n"


def test_what_exists_or_is_read_is_not_written_over(tmp_path):
    check_output(tmp_path / "deep" / "new.csv", inputs=[tmp_path / "deep" / "other.csv"])
    assert names(tmp_path) == []
    (tmp_path / "here.csv").write_text("precious")
    (tmp_path / "link.csv").symlink_to(tmp_path / "here.csv")
    os.link(tmp_path / "here.csv", tmp_path / "hard.csv")
    with pytest.raises(OptionError, match=r"here\.csv: the file exists already.*overwrite=True"):
        check_output(tmp_path / "here.csv")
    check_output(tmp_path / "here.csv", overwrite=True)
    for name in ("here.csv", "link.csv", "hard.csv"):
        with pytest.raises(OptionError, match="would be overwritten"):
            check_output(
                tmp_path / name, inputs=["no such file", "a\0b", "\ud800", tmp_path / "here.csv"], overwrite=True
            )
    with pytest.raises(OptionError, match="would be overwritten"):  # two outputs of one name
        refuse_inputs(tmp_path / "new.csv", [tmp_path / "x" / ".." / "new.csv"])
    with pytest.raises(OptionError, match="this is a folder"):
        check_output(tmp_path)
    with pytest.raises(OptionError, match="this is a folder"):
        write_atomically(tmp_path, b"")


def test_a_place_that_cannot_be_written_is_known_before_and_after(tmp_path):
    (tmp_path / "file").touch()
    for function in (check_output, lambda path: write_atomically(path, b"")):
        with pytest.raises(OutputError, match=r"file is a file\. Name another place"):
            function(tmp_path / "file" / "new")
    with pytest.raises(OutputError, match="File name too long"):
        check_output(tmp_path / ("x" * 300))
    longest = tmp_path / ("x" * 255)
    write_atomically(longest, b"fits")
    assert longest.read_bytes() == b"fits"


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_permission_is_refused_before_any_work(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output(tmp_path / "locked" / "deep" / "new")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it needs the full disk of Linux")
def test_a_full_disk_is_one_error_that_says_what_to_do(tmp_path):
    (tmp_path / "disk").symlink_to("/dev/full")
    with pytest.raises(
        OutputError, match=r"disk: it cannot be written: No space left on device\. Free some space there"
    ):
        write_atomically(tmp_path / "disk", b"content")


def test_what_goes_wrong_elsewhere_meanwhile_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "output"):
        (tmp_path / "input").read_bytes()
    with pytest.raises(BrokenPipeError), writing(tmp_path / "output"):
        raise BrokenPipeError(32, "Broken pipe")
