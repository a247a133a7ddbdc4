"""Write docs/models.md from the registry; with ``--check``, say whether it is up to date.

Every network is made and measured once, which takes a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from audiotag.host import get_host
from audiotag.models.complexity import Complexity, measure_complexity
from audiotag.models.costs import Cost, known_costs
from audiotag.models.create import create_backbone
from audiotag.plugin import BackboneSpec

PAGE = Path(__file__).parent / "models.md"
CLASSES = 527
"""Size of the head of networks that have none of their own."""

HEAD = f"""# Known models

Written by `python docs/generate_models.py` from the plugins' descriptors. Parameters and multiply-accumulates (for ten
seconds of audio, without the front end; {CLASSES} classes where a network has no head of its own) are those of
`audiotag models complexity NAME`. *Published* results are the authors' own. `audiotag models info NAME` shows
everything known about a model, with its citation and where its weights are; `audiotag models download NAME` fetches
them. Quote names with brackets in a shell: `'mn40_as(2)'`.

*ms* and *MB*, by torch / by an export in ONNX Runtime, are the processor time that ten seconds of sound took from
waveform to logits, and the most memory of a process that loads the model and tags one clip. `python
benchmarks/models.py` measured them in ten minutes on one thread while other programs computed, with random weights,
which cost the same (MACHINE).
`audiotag models list --sort score` (or `params`, `macs`, `speed`, `memory`) compares models.

![mAP on AudioSet against processor time; a line joins those that nothing quicker surpasses](pictures/models.png)
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
    sizes = ("parameters", "GMAC")  # measured here
    return ", ".join(f"{name} {value:g}" for name, value in spec.figures.items() if not name.startswith(sizes)) or "–"


def _licence(spec: BackboneSpec) -> str:
    """Licence of the weights, with a link to them where they have an address."""
    if spec.weights is None:
        return "–"
    address = spec.weights.urls[0]
    return f"[{spec.weights.licence}](<{address}>)" if address.startswith("http") else spec.weights.licence


def _costs(cost: Cost | None) -> tuple[str, str]:
    """Milliseconds and MB, by torch and by ONNX Runtime."""
    if cost is None:
        return "–", "–"
    pairs = ((cost.torch_ms, cost.onnx_ms), (cost.torch_mb, cost.onnx_mb))
    return tuple(" / ".join("–" if one is None else f"{one:.3g}" for one in pair) for pair in pairs)  # type: ignore[return-value]


def machines() -> str:
    """The machine on which costs were measured, or several."""
    return " or ".join(_unique(cost.machine for cost in known_costs().values()))


def _row(spec: BackboneSpec, alike: dict[tuple[str, str, int], str]) -> str:
    measured = complexity(spec, alike)
    cells = (
        f"`{spec.name}`",
        ("" if spec.weights else "Family: ") + spec.summary.replace("|", r"\|"),
        "–" if spec.num_classes is None else spec.labels or str(spec.num_classes),
        f"{measured.parameters / 1e6:.3g}",
        f"{measured.macs / 1e9:.3g}",
        *_costs(known_costs().get(spec.name)),
        _figures(spec),
        _licence(spec),
    )
    return "| " + " | ".join(cells) + " |"


def section(family: str, specs: list[BackboneSpec], alike: dict[tuple[str, str, int], str]) -> str:
    """One family: facts that its models share, notes on their weights, and the table."""
    first = specs[0]
    owner = get_host().owner(first).distribution
    licences = ", ".join(_unique(spec.licence for spec in specs))
    facts = f"`{owner}`; {' and '.join(first.inputs)}, {first.sample_rate / 1000:g} kHz; code: {licences}."
    notes = _unique(spec.weights.note for spec in specs if spec.weights is not None)
    text = [f"## {family}\n", " ".join([facts, *(f"{note.rstrip('.')}." for note in notes)]) + "\n"]
    text.append("| name | | classes | parameters (M) | GMAC | ms | MB | published | weights |")
    text.append("| --- | --- | --- | ---: | ---: | ---: | ---: | --- | --- |")
    text += [_row(spec, alike) for spec in specs]
    return "\n".join(text) + "\n"


def render() -> str:
    """The whole page."""
    alike: dict[tuple[str, str, int], str] = {}
    return "\n".join(
        [HEAD.replace("MACHINE", machines()), *(section(family, specs, alike) for family, specs in families().items())]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(
            0 if PAGE.exists() and PAGE.read_text() == render() else "docs/models.md is out of date: run make docs"
        )
    PAGE.write_text(render())
