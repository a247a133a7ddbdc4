"""Names from data stay in their folder."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag import places
from audiotag.errors import ManifestError
from audiotag.folders import path_inside


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "names no file"),
        ("./", "names no file"),
        ("/etc/x.wav", "is absolute"),
        ("\\\\server\\share\\x.wav", "is absolute"),
        ("C:\\x.wav", "is absolute"),
        ("c:x.wav", "is absolute"),
        ("../x.wav", "leads out"),
        ("a/../../x.wav", "leads out"),
        ("a\\..\\..\\x.wav", "leads out"),
        ("a\0.wav", "control characters"),
        ("a\n.wav", "control characters"),
        ("\udc80.wav", "control characters"),
        ("NUL", "a device"),
        ("sub/con.wav", "a device"),
        ("COM1.wav", "a device"),
        ("x" * 300, "too long"),
    ],
)
def test_refused(tmp_path, name, message):
    with pytest.raises(ManifestError, match=message) as caught:
        path_inside(tmp_path, name, error=ManifestError, where="list.csv")
    assert str(caught.value).startswith("list.csv: ")


@pytest.mark.parametrize("name", ["a.wav", "a/b.wav", "a\\b.wav", "..a/b..wav", "console.wav", "12:30.wav", "Käuze/ß"])
def test_allowed(tmp_path, name):
    assert path_inside(tmp_path, name, error=ManifestError) == tmp_path / name.replace("\\", "/")


@pytest.mark.parametrize("name", ["a.wav:hidden", "12:30.wav", "what?.wav", "a./b.wav", "a.wav.", "a.wav "])
def test_what_windows_takes_for_another_name_is_refused_there(tmp_path, monkeypatch, name):
    path_inside(tmp_path, name, error=ManifestError)
    monkeypatch.setattr(places, "WINDOWS", True)
    with pytest.raises(ManifestError, match="none that Windows has"):
        path_inside(tmp_path, name, error=ManifestError)
    assert path_inside(tmp_path, "a/..b.c.wav", error=ManifestError) == tmp_path / "a" / "..b.c.wav"


def test_a_link_in_the_folder_leads_out(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ManifestError, match="over a link"):
        path_inside(tmp_path / "folder", "link/x.wav", error=ManifestError)


@given(st.text(st.sampled_from("./\\ab:\0") | st.characters(), max_size=30))
def test_whatever_it_is_called_it_stays_inside(name):
    folder = Path("/base/folder")
    try:
        path = path_inside(folder, name, error=ManifestError)
    except ManifestError:
        return
    assert os.path.normpath(path).startswith("/base/folder/")
