"""The documentation agrees with the program, and its links lead somewhere."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import page_name, pages

from audiotag import hookspecs, plugin
from audiotag.host import get_host

ROOT = Path(__file__).parents[2]
HOOKS = [name for name in vars(hookspecs) if name.startswith("register_")]


def run(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


GENERATORS = ("generate_cli.py", "generate_hooks.py", "generate_plugin_parts.py", "generate_settings.py")


@pytest.mark.parametrize("generator", GENERATORS)
def test_generated_pages_are_up_to_date(generator):
    # In a process of its own: click keeps the help option of commands that other tests have called.
    run(ROOT / "docs" / generator, "--check")


def test_the_page_of_checks_lists_every_check():
    from audiotag.testing import all_checks

    run(ROOT / "docs" / "generate_checks.py", "--check")
    text = (ROOT / "docs" / "checks.md").read_text()
    for one in all_checks():
        assert f"| `{one.name}`" in text and one.description in text


@pytest.mark.slow
def test_the_page_of_models_is_up_to_date():
    run(ROOT / "docs" / "generate_models.py", "--check")


@pytest.mark.slow
def test_the_tables_of_damaged_recordings_are_up_to_date():
    pytest.importorskip("av", reason="PyAV (audiotag[video]) is not installed")
    run(ROOT / "docs" / "generate_formats.py", "--check")


def test_every_model_of_this_repository_is_on_the_page_of_models_with_its_figures_and_licence():
    rows = dict(re.findall(r"^\| `([^`]+)`[^|]*(\|.*)$", (ROOT / "docs" / "models.md").read_text(), re.MULTILINE))
    assert set(rows) == set(get_host().backbones)
    for name, spec in get_host().backbones.items():
        for figure, value in spec.figures.items():
            assert f"{figure} {value:g}" in rows[name], name
        if spec.weights is not None:
            assert f"| {spec.weights.licence} |" in rows[name], name


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_heading_with_its_exact_signature(hook):
    function = getattr(hookspecs, hook)
    returned = inspect.signature(function).return_annotation
    assert not inspect.signature(function).parameters
    text = (ROOT / "docs" / "hooks.md").read_text()
    assert f"\n## `{hook}() -> {returned}`\n" in text
    (descriptor,) = re.findall(r"\[(\w+)\]", returned)
    section = text.partition(f"\n### `{descriptor}`\n")[2].partition("\n<!-- end -->")[0]
    for field in getattr(plugin, descriptor).__dataclass_fields__:
        assert f"\n| `{field}` |" in section, field


def headings(text):
    """Anchors of a page, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if ":" in target:
            continue
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in headings(file.read_text()), f"{target}#{anchor}"


def test_every_page_has_a_place_in_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs')}\n" in navigation, page.name
    for page in ROOT.glob("plugins/*/README.md"):
        assert f": plugins/{page.parent.name}.md\n" in navigation, page.parent.name


def test_every_verb_has_the_summary_that_the_overview_shows():
    from audiotag.cli.main import VERBS, main

    for name, (_, summary) in VERBS.items():
        command = main.get_command(None, name)
        assert command is not None
        assert command.get_short_help_str(limit=200).rstrip(".") == summary.rstrip("."), name


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    done = run("-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site")
    assert "WARNING" not in done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        for tag in re.findall(r"<(?:link|script|img|iframe)\b[^>]*>", page.read_text()):
            if "canonical" not in tag:
                assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag), f"{page.name}: {tag}"
