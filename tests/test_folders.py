import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audiotag.errors import OptionError, OutputError
from audiotag.folders import atomic_folder, check_new_folder, check_results_folder, claim_folder, current_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from audiotag.folders import atomic_folder
point = int(sys.argv[2])
done = 0
replace = Path.replace
def counted(path, target):
    global done
    done += 1
    if done == point:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
Path.replace = counted
with atomic_folder(sys.argv[1]) as partial:
    (partial / "content").write_text("new")
    if point == 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    for content in ("first", "second"):
        with atomic_folder(tmp_path / "deep" / "here [1]") as partial:
            (partial / content).write_text(content)
            assert not (tmp_path / "deep" / "here [1]" / content).exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["here [1]"]
    assert [path.name for path in (tmp_path / "deep" / "here [1]").iterdir()] == ["second"]


def test_a_block_that_raises_changes_nothing(tmp_path):
    with atomic_folder(tmp_path / "here") as partial:
        (partial / "old").write_text("")
    with pytest.raises(KeyError), atomic_folder(tmp_path / "here") as partial:
        (partial / "new").write_text("")
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "old"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("point", "found"), [(0, "old"), (1, "old"), (2, "old"), (3, "new")])
def test_a_writer_killed_at_any_step_leaves_a_whole_folder_and_the_next_one_tidies_up(tmp_path, point, found):
    with atomic_folder(tmp_path / "here") as partial:
        (partial / "content").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "here", str(point)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (current_folder(tmp_path / "here") / "content").read_text() == found
    with atomic_folder(tmp_path / "here") as partial:
        assert (tmp_path / "here" / "content").read_text() == found
        (partial / "content").write_text("newest")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert (tmp_path / "here" / "content").read_text() == "newest"


def test_what_others_have_put_beside_a_folder_stays(tmp_path):
    precious = [".avg.old", ".avg.new", ".avg.partial-1234", ".avg.part"]
    for name in precious:
        (tmp_path / name).mkdir()
        (tmp_path / name / "diary").write_text("precious")
    assert current_folder(tmp_path / "avg") == tmp_path / "avg"
    with atomic_folder(tmp_path / "avg"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["avg", *precious])
    assert all((tmp_path / name / "diary").is_file() for name in precious)


def test_a_hidden_folder_without_our_mark_is_neither_read_nor_removed(tmp_path):
    (tmp_path / ".avg.audiotag" / "new").mkdir(parents=True)
    (tmp_path / ".avg.audiotag" / "new" / "diary").write_text("precious")
    assert current_folder(tmp_path / "avg") == tmp_path / "avg"
    with pytest.raises(OptionError, match="is in the way") as refused, atomic_folder(tmp_path / "avg"):
        pass
    assert refused.value.where == str(tmp_path / ".avg.audiotag")
    assert (tmp_path / ".avg.audiotag" / "new" / "diary").read_text() == "precious"
    assert not (tmp_path / "avg").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_the_folder_that_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "disk" / "best").mkdir(parents=True)
    (tmp_path / "best").symlink_to(tmp_path / "disk" / "best")
    with atomic_folder(tmp_path / "best") as partial:
        (partial / "content").write_text("new")
    assert (tmp_path / "best").is_symlink()
    assert (tmp_path / "disk" / "best" / "content").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["best", "best", "content", "disk"]


def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="here: it cannot be written"), atomic_folder(tmp_path / "file" / "here"):
        pass
    with pytest.raises(OutputError, match="cannot be written"):
        check_new_folder(tmp_path / "file" / "here")
    with pytest.raises(OptionError, match="this is a file"):
        check_new_folder(tmp_path / "file")


def test_a_folder_is_claimed_by_one_command_and_only_while_it_is_new(tmp_path):
    claim_folder(tmp_path / "results", "compare")
    (tmp_path / "results" / "more").mkdir()
    claim_folder(tmp_path / "results", "compare")
    with pytest.raises(OptionError, match="not empty"):
        claim_folder(tmp_path / "results", "demo")
    (tmp_path / "diary").write_text("precious")
    with pytest.raises(OptionError, match="not empty"):
        claim_folder(tmp_path, "compare")


def test_results_are_replaced_only_when_that_is_asked_for_and_never_over_what_is_read(tmp_path):
    check_results_folder(tmp_path / "new" / "folder", ["a.csv"])
    assert not (tmp_path / "new").exists()
    (tmp_path / "a.csv").touch()
    check_results_folder(tmp_path, ["b.csv"])
    with pytest.raises(OptionError, match=r"results already \(a\.csv\).*overwrite=True"):
        check_results_folder(tmp_path, ["b.csv", "a.csv"])
    check_results_folder(tmp_path, ["a.csv"], overwrite=True)
    with pytest.raises(OptionError, match="would be overwritten"):
        check_results_folder(tmp_path, ["a.csv"], overwrite=True, inputs=[Path(os.path.relpath(tmp_path / "a.csv"))])
