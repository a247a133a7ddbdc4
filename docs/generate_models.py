"""Write docs/models.md from the registry; with ``--check``, say whether it is up to date.

Every network is made and measured once, which takes a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

from audiotag.host import get_host
from audiotag.models.complexity import Complexity, measure_complexity
from audiotag.models.create import create_backbone
from audiotag.plugin import BackboneSpec

PAGE = Path(__file__).parent / "models.md"
CLASSES = 527
"""Size of the head of networks that have none of their own."""

HEAD = f"""# Known models

Made by `python docs/generate_models.py` from the descriptors of the plugins in this repository; a test compares the
two.

Parameters (in millions) and multiply-accumulates (in billions, for ten seconds of sound, without the front end) are
what `audiotag models complexity NAME` counts; a network without a head of its own is counted with {CLASSES} classes.
Everything under *published* is the authors' own figure. `audiotag models info NAME` shows all that is known of one
model, and `audiotag models download NAME` fetches its weights.

A name in brackets belongs to a shell's syntax: write `'mn40_as(2)'` in quotes.
"""


def families() -> dict[str, list[BackboneSpec]]:
    """Family → its descriptors, as the plugins list them."""
    found: dict[str, list[BackboneSpec]] = {}
    for spec in get_host().backbones.values():
        found.setdefault(spec.family, []).append(spec)
    return found


@cache
def _measured(name: str, classes: int, options: str) -> Complexity:
    return measure_complexity(create_backbone(name, classes))


def complexity(spec: BackboneSpec, alike: dict[tuple[str, str, int], str]) -> Complexity:
    """What the network costs; of models with the same network only the first is measured."""
    classes = spec.num_classes or CLASSES
    options = repr(sorted(spec.options.items()))
    return _measured(alike.setdefault((spec.factory, options, classes), spec.name), classes, options)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _figures(spec: BackboneSpec) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in spec.figures.items()) or "–"


def _origin(spec: BackboneSpec) -> str:
    if spec.weights is None:
        return "–"
    if (address := spec.weights.urls[0]).startswith("http"):
        return f"[{urlparse(address).netloc}](<{address}>)"
    return f"`{address}`"


def _row(spec: BackboneSpec, alike: dict[tuple[str, str, int], str]) -> str:
    measured = complexity(spec, alike)
    classes = "–" if spec.num_classes is None else f"{spec.num_classes}" + (f" ({spec.labels})" if spec.labels else "")
    cells = (
        f"`{spec.name}`" + (" (family)" if spec.weights is None else ""),
        spec.summary.replace("|", r"\|"),
        classes,
        f"{measured.parameters / 1e6:.3g}",
        f"{measured.macs / 1e9:.3g}",
        _figures(spec),
        "–" if spec.weights is None else spec.weights.licence,
        _origin(spec),
    )
    return "| " + " | ".join(cells) + " |"


def section(family: str, specs: list[BackboneSpec], alike: dict[tuple[str, str, int], str]) -> str:
    """One family: facts that its models share, notes on their weights, and the table."""
    first = specs[0]
    owner = get_host().owner(first).distribution
    facts = [
        f"From `{owner}`.",
        f"Input: {' and '.join(first.inputs)}, {first.sample_rate / 1000:g} kHz, trained on {first.clip_seconds:g} s.",
        f"Licence of the code it was described in: {', '.join(_unique(spec.licence for spec in specs))}.",
    ]
    text = [f"## {family}\n", " ".join(facts) + "\n"]
    if citations := _unique(spec.citation for spec in specs):
        text.append("\n".join(f"- {citation}" for citation in citations) + "\n")
    if notes := _unique(spec.weights.note for spec in specs if spec.weights is not None):
        text.append("About the weights:\n\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    text.append("| name | | classes | parameters (M) | GMAC | published | licence of the weights | weights |")
    text.append("| --- | --- | --- | ---: | ---: | --- | --- | --- |")
    text += [_row(spec, alike) for spec in specs]
    return "\n".join(text) + "\n"


def render() -> str:
    """The whole page."""
    alike: dict[tuple[str, str, int], str] = {}
    return "\n".join([HEAD, *(section(family, specs, alike) for family, specs in families().items())])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(
            0 if PAGE.exists() and PAGE.read_text() == render() else "docs/models.md is out of date: run make docs"
        )
    PAGE.write_text(render())
