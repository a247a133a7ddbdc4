"""The version and the address stand in one place, and a release that is not ready is refused; tools/release.py."""

import importlib.util
import re
import shutil
import subprocess
import tomllib
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"

_spec = importlib.util.spec_from_file_location("release", ROOT / "tools" / "release.py")
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)

OWN_VERSIONS = ("pyproject.toml.template", "tutorial_write_a_backbone.md")
"""Files with the version of somebody else's plugin, which is at its beginning."""


def _files(root):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    return [root / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture
def copy(tmp_path):
    """The files of the repository in which a version may stand."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    root = tmp_path / "copy"
    for path in _files(root):
        if (
            path.suffix in (".toml", ".cff", ".md", ".yml", ".py", ".pyi", ".template", "")
            and "tests" not in path.parts
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path.relative_to(root), path)
    return root


def _project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_all_distributions_the_citation_and_the_changelog_have_one_version():
    assert release.problems(ROOT) == []
    newest = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[:2]
    assert newest == ["Unreleased", release.stated(ROOT)]


def test_a_bump_leaves_the_version_nowhere_but_in_the_changelog(copy):
    old, old_range = release.stated(copy), release.compatible_versions(release.stated(copy))
    unreleased = (copy / "CHANGELOG.md").read_text(encoding="utf-8").partition("## [Unreleased]\n\n")[2]
    release.bump(copy, "7.8.9", date(2031, 2, 3))
    assert {_project(folder)["version"] for folder in release.projects(copy)} == {"7.8.9"}
    assert release.problems(copy) == []
    assert "audiotag-psla>=7.8,<7.9" in _project(copy)["optional-dependencies"]["all"]
    assert f"## [Unreleased]\n\n## [7.8.9] - 2031-02-03\n\n{unreleased}" in (copy / "CHANGELOG.md").read_text()
    assert "\nversion: 7.8.9\ndate-released: 2031-02-03\n" in (copy / "CITATION.cff").read_text()
    for path in (path for path in copy.rglob("*") if path.is_file() and path.name != "CHANGELOG.md"):
        text = path.read_text(encoding="utf-8")
        if path.name not in OWN_VERSIONS:
            assert not re.search(rf"(?<![\d.]){re.escape(old)}(?![\d.])", text), path
        assert f"audiotag{old_range}" not in text and f"]{old_range}" not in text, path


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "1.2.3rc1", "0.1.0"])
def test_what_is_no_new_version_is_refused_before_anything_is_written(copy, version):
    with pytest.raises(SystemExit, match=r"Give (three numbers|the next version)"):
        release.bump(copy, version, date(2031, 2, 3))
    assert release.problems(copy) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("CHANGELOG.md", "## [0.1.0] - ", "## [0.0.9] - ", "CHANGELOG.md has no section"),
        ("CHANGELOG.md", "## [0.1.0] - 2", "## [0.1.0] - soon 2", "CHANGELOG.md has no section"),
        ("CITATION.cff", "version: 0.1.0", "version: 0.1.1", "CITATION.cff is not of version 0.1.0"),
        ("plugins/psla/pyproject.toml", '"0.1.0"', '"0.1.1"', "audiotag-psla has version 0.1.1, the core 0.1.0"),
        ("plugins/psla/pyproject.toml", ">=0.1,<0.2", ">=0.1", "audiotag-psla asks for audiotag>=0.1, not >=0.1,<0.2"),
        ("pyproject.toml", "psla>=0.1,<0.2", "psla>=0.0,<0.1", "audiotag asks for audiotag>=0.0,<0.1, not >=0.1,<0.2"),
    ],
)
def test_what_does_not_agree_is_told(copy, file, old, new, told):
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    (problem,) = release.problems(copy)
    assert problem.startswith(told)


def test_the_tag_must_be_that_of_the_version():
    assert release.problems(ROOT, f"v{release.stated(ROOT)}") == []
    (problem,) = release.problems(ROOT, "v7.8.9")
    assert "make bump VERSION=7.8.9" in problem


def test_the_address_is_written_everywhere_and_can_be_changed(copy):
    before = [_project(folder)["urls"] for folder in release.projects(copy)]
    for url in ("https://forge.example/group/audiotag/", "https://elsewhere.example/audiotag"):
        release.set_address(copy, url)
    ours = {"Repository": url, "Issues": f"{url}/issues", "Changelog": f"{url}/blob/main/CHANGELOG.md"}
    assert [_project(folder)["urls"] for folder in release.projects(copy)] == [ours | urls for urls in before]
    for name, key in (("CITATION.cff", "repository-code"), ("mkdocs.yml", "repo_url")):
        assert f"\n{key}: {url}\n" in (copy / name).read_text()
    with pytest.raises(SystemExit, match="is not the address of a repository"):
        release.set_address(copy, "elsewhere")


def _targets(text):
    return re.findall(r"\bmake ([a-z-]+)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))


def test_the_workflows_call_the_targets_of_one_ci_run_and_of_a_release():
    here = _targets((ROOT / ".ci" / "run").read_text())
    assert sorted(_targets((WORKFLOWS / "ci.yml").read_text())) == sorted(here) != []
    assert _targets((WORKFLOWS / "release.yml").read_text()) == ["release-check"]
    makefile = (ROOT / "Makefile").read_text()
    for target in (*here, "release-check", "bump", "address"):
        assert f"\n{target}: install\n" in makefile


def test_the_workflow_tests_the_pythons_that_the_package_names():
    (listed,) = re.findall(r"python: \[(.*)\]", (WORKFLOWS / "ci.yml").read_text())
    named = [one.rpartition(" ")[2] for one in _project(ROOT)["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    assert re.findall(r"[\d.]+", listed) == named
    assert {_project(folder)["requires-python"] for folder in release.projects(ROOT)} == {f">={named[0]}"}
