import pytest

from audiotag.folders import atomic_folder, current_folder


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


def test_leftovers_of_this_folder_are_swept_and_nothing_else(tmp_path):
    for name in (".here.partial-1234", ".here.new", ".here.old", ".here.news", ".here2.new", ".hereold"):
        (tmp_path / name).mkdir()
    assert current_folder(tmp_path / "here") == tmp_path / ".here.new"
    with atomic_folder(tmp_path / "here"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".here.news", ".here2.new", ".hereold", "here"]
    assert current_folder(tmp_path / "here") == tmp_path / "here"
    assert current_folder(tmp_path / "nothing") == tmp_path / "nothing"
