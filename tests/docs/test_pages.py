"""The documentation agrees with the program, and its links lead somewhere."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import griffe
import pytest
from snippets import page_name, pages

from audiotag import errors, hookspecs, plugin
from audiotag.host import get_host

ROOT = Path(__file__).parents[2]
HOOKS = [name for name in vars(hookspecs) if name.startswith("register_")]


def run(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("generator", ["generate_settings.py"])
def test_generated_pages_are_up_to_date(generator):
    # In a process of its own: click keeps the help option of commands that other tests have called.
    run(ROOT / "docs" / generator, "--check")


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
            # The page measures sizes itself.
            assert figure.startswith(("parameters", "GMAC")) or f"{figure} {value:g}" in rows[name], name
        if spec.weights is not None:
            assert re.search(rf"\| \[?{re.escape(spec.weights.licence)}(\]\(.+\))? \|", rows[name]), name


def described(page):
    """Names of the directives that mkdocstrings fills in."""
    return re.findall(r"^::: (\S+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_described_with_its_descriptor_and_what_each_field_means(hook):
    returned = inspect.signature(getattr(hookspecs, hook)).return_annotation
    (descriptor,) = re.findall(r"\[(\w+)\]", returned)
    assert {f"audiotag.hookspecs.{hook}", f"audiotag.plugin.{descriptor}"} <= {*described("hooks.md")}
    assert f"\n| `{hook}` | `{descriptor}` |" in (ROOT / "docs" / "hooks.md").read_text()
    kind = getattr(plugin, descriptor)
    sections = [
        section
        for one in kind.__mro__[:-1]
        for section in griffe.Docstring(inspect.cleandoc(one.__doc__ or "")).parse("google", warnings=False)
    ]
    attributes = [section for section in sections if section.kind is griffe.DocstringSectionKind.attributes]
    assert {*kind.__dataclass_fields__} == {attribute.name for section in attributes for attribute in section.value}


def test_every_name_that_plugins_import_is_on_one_page():
    names = [name.rpartition(".")[2] for page in ("hooks.md", "plugin_parts.md") for name in described(page)]
    assert len(names) == len({*names})
    elsewhere = {name.rpartition(".")[2] for name in described("python.md")} | {*vars(errors)}
    assert {*plugin.__all__} <= {*names} | elsewhere


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
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(site):
    assert "the_fast_copy_agrees" in (site / "checks.html").read_text()
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:link|script|img|iframe)\b[^>]*>", page.read_text()):
            if "canonical" not in tag:
                assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag), f"{page.name}: {tag}"
