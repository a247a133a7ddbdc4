"""Brings files outside docs/ into the site (changelog, contributing, plugins' pages, examples), with links that fit.

It also writes the table of the conformance kit's checks into the page that asks for it, and says what the search puts
first. A hook of MkDocs, named in mkdocs.yml. Pages are written so that their links work in the repository; where a link
leads to a file that has another place in the site, it is rewritten.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from audiotag.testing import all_checks

ROOT = Path(__file__).parents[1]

LESS_SEARCHED = {"python.md": 0.3, "hooks.md": 0.3, "plugin_parts.md": 0.3, "changelog.md": 0.3, "architecture.md": 0.5}
"""Weights in the search: the many short sections of these pages would outdo those that tell how."""


def places() -> dict[str, str]:
    """File in the repository → file in the site, for everything that does not lie in docs/."""
    found = {page.name: f"{page.stem.lower()}.md" for page in sorted(ROOT.glob("*.md"))} | {"README.md": "index.md"}
    for page in sorted(ROOT.glob("plugins/*/README.md")):
        found[page.relative_to(ROOT).as_posix()] = f"plugins/{page.parent.name}.md"
    for card in sorted(ROOT.glob("plugins/*/audiotag_*/*/README.md")):
        found[card.relative_to(ROOT).as_posix()] = f"plugins/{card.parent.name}.md"
    for example in sorted(ROOT.glob("examples/*.py")):
        found[example.relative_to(ROOT).as_posix()] = f"examples/{example.name}"
    return found


def on_files(files: Files, config: Any) -> Files:
    """Add the files; the README is not one of them, since the site has a start page of its own."""
    for source, place in places().items():
        if place != "index.md":
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite the links of a page to where their targets are in the site, and fill in the table of checks."""
    if page.file.abs_src_path is None:  # a page that another hook has made
        return markdown
    source = Path(page.file.abs_src_path).resolve().relative_to(ROOT).as_posix()
    page.meta["search"] = {"boost": LESS_SEARCHED.get(page.file.src_uri, 1.0)}
    markdown = markdown.replace("<!-- table of checks -->", table_of_checks())
    return rewrite_links(markdown, source, page.file.src_uri)


def table_of_checks() -> str:
    """Every check of the conformance kit, in Markdown."""
    rows = ["| of | check | | requirement |", "|---|---|---|---|"]
    for one in all_checks():
        rows.append(f"| {one.kind} | `{one.name}` | {'cheap' if one.cheap else ''} | {one.description} |")
    return "\n".join(rows)


def rewrite_links(markdown: str, source: str, place: str) -> str:
    """The page with links that fit the site.

    Args:
        markdown: The text as it stands in the repository.
        source: The page's file, relative to the repository.
        place: The page's file, relative to the site.
    """
    moved = places()

    def replace(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        in_repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        in_site = moved.get(in_repository, in_repository.removeprefix("docs/"))
        return f"]({posixpath.relpath(in_site, posixpath.dirname(place) or '.')}{anchor})"

    return re.sub(r"\]\(([^)#\s]+)(#[^)\s]*)?\)", replace, markdown)
