"""What other systems lack or refuse, acted out on this one."""

import ast
import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import soundfile

from audiotag import places
from audiotag.continual.store import ClipStore, Payload
from audiotag.data import archive_worker
from audiotag.engines import cached
from audiotag.errors import OptionError
from audiotag.files import lock, write_text
from audiotag.folders import atomic_folder, path_inside
from audiotag.inference.writers import open_output
from audiotag.labels import LabelSet
from audiotag.places import is_folder, is_link

ROOT = Path(__file__).parents[1]


def _open_here():
    """The files that this process has open, or in its memory."""
    links = [*Path("/proc/self/fd").iterdir()]
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line.split(maxsplit=5)[5] for line in maps if len(line.split()) > 5]
    return {os.path.realpath(link) for link in links if is_link(link)} | set(mapped)


def _refuse_open(path):
    if is_link(path):
        return
    place = os.path.realpath(path)
    if held := [one for one in _open_here() if one == place or one.startswith(f"{place}/")]:
        raise PermissionError(errno.EACCES, f"it is open ({held})", os.fspath(path))


@pytest.fixture
def like_windows(monkeypatch):
    """Files as on Windows: open ones stay, folders are not opened, nothing is locked, and only writers flush."""
    if not is_folder("/proc/self/fd"):
        pytest.skip("this system does not say which files are open")
    import fcntl

    access, open_, fsync, rename, replace, unlink = (
        fcntl.fcntl, os.open, os.fsync, os.rename, os.replace, os.unlink,
    )  # fmt: skip

    def opened(path, flags, *rest, **named):
        if is_folder(path):
            raise PermissionError(errno.EACCES, "it is a folder", os.fspath(path))
        return open_(path, flags, *rest, **named)

    def flushed(handle):
        if access(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "it was opened to read")
        fsync(handle)

    def renamed(old, new):
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, "there is something", os.fspath(new))
        _refuse_open(old)
        rename(old, new)

    def replaced(old, new):
        if is_folder(new):
            raise PermissionError(errno.EACCES, "it is a folder", os.fspath(new))
        _refuse_open(old)
        _refuse_open(new)
        replace(old, new)

    def unlinked(path, **named):
        if not named and os.path.lexists(path):
            _refuse_open(path)
        unlink(path, **named)

    monkeypatch.setattr(places, "WINDOWS", True)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # which open folders
    for name in ("geteuid", "statvfs"):
        monkeypatch.delattr(os, name)
    for name, function in {
        "open": opened, "fsync": flushed, "rename": renamed, "replace": replaced, "unlink": unlinked,
    }.items():  # fmt: skip
        monkeypatch.setattr(os, name, function)


def test_files_and_folders_are_written_and_replaced(like_windows, tmp_path):
    for text in ("first", "second"):
        write_text(tmp_path / "file", text)
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "inside").mkdir()
            (partial / "inside" / "file").write_text(text)
        assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "inside" / "file").read_text() == text
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_part_of_a_killed_writer_is_left_and_another_name_is_taken(like_windows, tmp_path):
    leftover = tmp_path / ".file.0.audiotag-part"
    leftover.write_text("half")
    write_text(tmp_path / "file", "whole")
    assert (tmp_path / "file").read_text() == "whole" and leftover.read_text() == "half"


def test_there_are_no_locks_and_nobody_can_tell(like_windows, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        assert lock(file.fileno(), wait=True) is None


def test_an_output_is_put_in_its_place_or_leaves_nothing(like_windows, tmp_path):
    for name in ("csv", "jsonl"):
        with open_output(name, tmp_path / f"tags.{name}"):
            pass
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".resume")) == [
        "tags.csv",
        "tags.jsonl",
    ]


def test_a_store_is_made_in_an_empty_folder_filled_and_exported(like_windows, tmp_path):
    labels = LabelSet.from_names(["low", "high"], source="test")
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(8000), 8000)
    for name in ("store", "exported"):
        (tmp_path / name).mkdir()
    with ClipStore.create(tmp_path / "store", labels=labels, capacity=2) as store:
        for number in range(4):
            store.add(f"clip {number}", Payload.from_file(tmp_path / "a.wav"), ["low"])
        assert len(store) == 2
        store.export(tmp_path / "exported")
    assert len([*(tmp_path / "exported").rglob("*.wav")]) == 2


def test_readers_start_where_signals_cannot_be_held_back(monkeypatch):
    pytest.importorskip("torch")
    from audiotag.training.ahead import ReadAhead

    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    with ReadAhead(abs, 1) as ahead:
        assert list(ahead.read([-1, 2, -3])) == [1, 2, 3]


SPAWNED = """
import multiprocessing, sys
from pathlib import Path

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    import audiotag
    small = {"options": {"width_mult": 0.1}, "seconds": 0.5, "batch_size": 4, "epochs": 1, "device": "cpu"}
    for workers in (0, 2):
        audiotag.finetune("mn", sys.argv[2], val=sys.argv[2], output=str(workers), workers=workers, **small)
    model = "best/model.safetensors"
    assert Path("0", model).read_bytes() == Path("2", model).read_bytes()
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_however_workers_are_started_the_run_is_the_same(method, low_and_high, tmp_path):
    (tmp_path / "program.py").write_text(SPAWNED)
    command = [sys.executable, "program.py", method, str(low_and_high)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_paths_as_windows_writes_them_stay_in_their_folder(tmp_path):
    name = str(PureWindowsPath("sub") / "a.wav")
    assert path_inside(tmp_path, name, error=OptionError) == tmp_path / "sub" / "a.wav"
    for path in (PureWindowsPath("C:/a.wav"), PureWindowsPath("//server/share/a.wav"), PureWindowsPath("../a.wav")):
        with pytest.raises(OptionError, match=r"is absolute|leads out"):
            path_inside(tmp_path, str(path), error=OptionError)


@pytest.mark.parametrize("problem", [None, ValueError("current limit exceeds maximum limit"), OSError(22, "no")])
def test_the_reader_of_archives_works_without_a_bound_on_its_memory(monkeypatch, problem):
    if problem is None:
        monkeypatch.setitem(sys.modules, "resource", None)
    else:
        resource = pytest.importorskip("resource")

        def refused(*_):
            raise problem

        monkeypatch.setattr(resource, "setrlimit", refused)
    archive_worker._bound_memory()


@pytest.mark.parametrize(("system", "asks"), [("win32", True), ("darwin", True), ("linux", False)])
def test_an_accelerator_is_asked_for_where_the_system_does_not_show_it(monkeypatch, system, asks):
    pytest.importorskip("torch")
    monkeypatch.setattr(cached.sys, "platform", system)
    monkeypatch.setattr(cached, "exists", lambda _: False)
    assert cached.may_have_accelerator() == asks


UNIX_ONLY = {
    "os": [
        "fork",
        "geteuid",
        "getuid",
        "killpg",
        "mkfifo",
        "register_at_fork",
        "sched_getaffinity",
        "setsid",
        "statvfs",
        "sync",
        "sysconf",
    ],
    "signal": ["SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "pthread_sigmask", "setitimer"],
}
SOURCES = [*(ROOT / "audiotag").rglob("*.py"), *ROOT.glob("plugins/*/audiotag_*/**/*.py")]


def _guarded(node, parents):
    """Whether something around *node* asks first whether the system has it, or goes on where it has not."""
    module, name = node.value.id, node.attr
    asks = (f"hasattr({module}, '{name}')", "places.WINDOWS")
    while (node := parents.get(node)) is not None and not isinstance(node, ast.Module):
        if isinstance(node, ast.Try) and any("AttributeError" in ast.unparse(one.type) for one in node.handlers):
            return True
        if any(asked in ast.unparse(node) for asked in asks):
            return True
    return False


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_other_systems_lack_is_asked_for_first(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in UNIX_ONLY.get(module, ()):
                assert _guarded(node, parents), f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=ast.Attribute(attr=name)):
                named = {keyword.arg for keyword in node.keywords}
                as_text = "text" in named or {"read_text": 0, "write_text": 1}.get(name) == len(node.args)
                assert not as_text or "encoding" in named, f"line {node.lineno}: the encoding would be the system's"


def test_modules_are_imported_where_unix_modules_are_missing():
    program = (
        "import sys\n"
        "sys.modules.update(fcntl=None, resource=None)\n"
        "import audiotag.files, audiotag.folders, audiotag.continual.store, audiotag.inference.writers, audiotag.data\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
