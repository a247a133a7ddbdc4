"""What a release takes: one version in all distributions, one address, and packages that work where they are installed.

    python tools/release.py bump 0.2.0     write the version wherever it stands, and begin its section of the changelog
    python tools/release.py address URL    write the project's public address wherever it stands
    python tools/release.py check          build all distributions of the last commit in dist/, and try them there

``[project] version`` and ``[project.urls]`` of the core's pyproject.toml are where both are read from. `make bump`,
`make address` and `make release-check` call this.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from datetime import date
from itertools import chain
from pathlib import Path

from audiotag.scaffold import compatible_versions

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_REQUIREMENT = r"audiotag[-\w]*(?:\[[\w,]+\])?(.*)"
_RANGE = r"(audiotag[-\w]*(?:\[\w+\])?)>=\d+\.\d+,<\d+\.\d+"
_PAGES = ("CONTRIBUTING.md", "docs/tutorial_write_a_backbone.md")
"""Pages that say which versions a plugin asks for."""


def projects(root: Path) -> list[Path]:
    """The folders of all distributions, that of the core first."""
    return [root, *sorted(path.parent for path in root.glob("plugins/*/pyproject.toml"))]


def stated(root: Path) -> str:
    """The version of the core, which is that of all."""
    version: str = tomllib.loads(_text(root / "pyproject.toml"))["project"]["version"]
    return version


def bump(root: Path, version: str, day: date) -> None:
    """Write *version* in every distribution, what they ask of each other, the citation and the changelog.

    Raises:
        SystemExit: It is no version, or the changelog has it already.
    """
    if not _VERSION.fullmatch(version):
        raise SystemExit(f"{version!r} is not a version. Give three numbers: make bump VERSION=0.2.0")
    if f"\n## [{version}]" in _text(root / "CHANGELOG.md"):
        raise SystemExit(f"CHANGELOG.md has a section for {version} already. Give the next version.")
    for project in projects(root):
        _replace(project / "pyproject.toml", r'^version = ".*"$', f'version = "{version}"')
    for page in (*(project / "pyproject.toml" for project in projects(root)), *(root / page for page in _PAGES)):
        _replace(page, _RANGE, rf"\g<1>{compatible_versions(version)}", count=0)
    _replace(root / "CITATION.cff", r"^version: .*$", f"version: {version}")
    _replace(root / "CITATION.cff", r"^date-released: .*$", f"date-released: {day}")
    _replace(root / "CHANGELOG.md", r"^## \[Unreleased\]$", f"## [Unreleased]\n\n## [{version}] - {day}")


def set_address(root: Path, url: str) -> None:
    """Write the project's public address in every distribution, the citation and the site.

    Raises:
        SystemExit: It is no address.
    """
    url = url.rstrip("/")
    if not re.fullmatch(r"https://[^\s\"/]+/[^\s\"]+", url):
        raise SystemExit(f"{url!r} is not the address of a repository. Give it as: make address URL=https://HOST/NAME")
    urls = {"Repository": url, "Issues": f"{url}/issues", "Changelog": f"{url}/blob/main/CHANGELOG.md"}
    lines = "".join(f'{name} = "{address}"\n' for name, address in urls.items())
    for project in projects(root):
        path = project / "pyproject.toml"
        _replace(path, rf"^(?:{'|'.join(urls)}) = .*\n", "", count=0)
        _replace(path, r"^\[project\.urls\].*\n", rf"\g<0>{lines}")
    for path, key in ((root / "CITATION.cff", "repository-code"), (root / "mkdocs.yml", "repo_url")):
        _replace(path, rf"^(?:# )?{key}:.*$", f"{key}: {url}")


def problems(root: Path, tag: str = "") -> list[str]:
    """What is not ready for a release of the version that the core states: a line for each, with what to do.

    Args:
        root: The repository.
        tag: The tag that asks for the release, if any.
    """
    version = stated(root)
    found = []
    if tag not in ("", f"v{version}"):
        found.append(f"the tag is {tag} and the version {version}: tag v{version}, or make bump VERSION={tag[1:]}")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", _text(root / "CHANGELOG.md"), re.MULTILINE):
        found.append(f"CHANGELOG.md has no section '## [{version}] - YEAR-MONTH-DAY': write it")
    if f"\nversion: {version}\n" not in _text(root / "CITATION.cff"):
        found.append(f"CITATION.cff is not of version {version}: make bump writes it")
    for project in projects(root):
        stands = tomllib.loads(_text(project / "pyproject.toml"))["project"]
        groups = [stands["dependencies"], *stands.get("optional-dependencies", {}).values()]
        ranges = {match[1] for one in chain(*groups) if (match := re.fullmatch(_REQUIREMENT, one)) and match[1]}
        if stands["version"] != version:
            found.append(f"{stands['name']} has version {stands['version']}, the core {version}: make bump writes both")
        if wrong := ranges - {compatible_versions(version)}:
            asks = " and ".join(sorted(wrong))
            found.append(f"{stands['name']} asks for audiotag{asks}, not {compatible_versions(version)}: see make bump")
    return found


def build(source: Path, output: Path) -> None:
    """Build a source distribution of every project, and from it a wheel, as whoever installs them would."""
    for project in projects(source):
        _run(sys.executable, "-m", "build", "--outdir", output, project)
    _run(sys.executable, "-m", "twine", "check", "--strict", *sorted(output.iterdir()))


def check(tag: str = "") -> None:
    """Build all distributions of the last commit in dist/, and run the tests of installed packages with them.

    Raises:
        SystemExit: Something is not ready.
    """
    if found := problems(ROOT, tag):
        raise SystemExit("not ready for a release:\n" + "\n".join(f"- {line}" for line in found))
    if changes := _run("git", "status", "--porcelain", "--untracked-files=no"):
        print(f"These changes are not committed, and in no package:\n{changes}", file=sys.stderr)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(_git_archive())) as archive:
            archive.extractall(folder, filter="data")
        build(Path(folder), ROOT / "dist")
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/end_to_end/test_wheels.py")
    done = subprocess.run([sys.executable, *tests], cwd=ROOT, env={**os.environ, "AUDIOTAG_DIST": str(ROOT / "dist")})
    if done.returncode:
        raise SystemExit("the packages in dist/ do not work; see above")
    print(f"\nReady: {len(projects(ROOT))} distributions of version {stated(ROOT)} in dist/")


def _git_archive() -> bytes:
    return subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout


def _run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _replace(path: Path, pattern: str, new: str, *, count: int = 1) -> None:
    """Replace what *pattern* finds in a file: just once, or wherever it is found where *count* is 0."""
    text, found = re.subn(pattern, new, _text(path), flags=re.MULTILINE)
    if count and found != count:
        raise SystemExit(f"{path}: {pattern!r} stands there {found} times, and not {count}")
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("bump").add_argument("version")
    commands.add_parser("address").add_argument("url")
    commands.add_parser("check").add_argument("--tag", default="", help="the tag that asks for the release")
    arguments = parser.parse_args()
    if arguments.command == "bump":
        bump(ROOT, arguments.version, date.today())
    elif arguments.command == "address":
        set_address(ROOT, arguments.url)
    else:
        check(arguments.tag)


if __name__ == "__main__":
    main()
