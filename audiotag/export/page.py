"""The page beside an exported network: what it is, whose, and how well it does what the original does."""

from __future__ import annotations

from audiotag.engines.exported import Exported
from audiotag.export.proof import Difference, Proof


def page(exported: Exported, proof: Proof) -> str:
    """``README.md``, in Markdown."""
    card, source, lengths = exported.card, exported.source, exported.lengths
    facts = {
        "Made from": f"{source['model']} of {source['plugin']['distribution']} {source['plugin']['version']}",
        "Weights": f"{exported.precision}, made from {source['weights']}",
        "Rounded for": _calibrated(proof),
        "Licence of the weights": card["weights_licence"] or "that of whoever trained them",
        "Licence of the published code": card["code_licence"],
        "Citation": card["citation"],
        "Takes": f"{' and '.join(exported.inputs)}, {lengths.sample_rate} Hz, {lengths.shortest:g} to "
        f"{lengths.longest:g} s at once, trained on {lengths.clip:g} s",
        "Gives": f"{', '.join(exported.outputs)}; {len(exported.labels)} classes, "
        + ("of which a clip has one" if exported.single_label else "of which a clip has any number"),
        "Exported with": ", ".join(f"{name} {version}" for name, version in exported.versions.items()),
    }
    lines = [f"# {exported.name}", "", card["summary"], ""] if card["summary"] else [f"# {exported.name}", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    lines += ["", "Tag with it: `audiotag infer --model . clip.wav`. Nothing in this folder is code.", ""]
    lines += ["## The same as with torch", "", f"Compared on {proof.clips} clips ({proof.sounds}).", ""]
    rows = [
        *_differences(proof),
        ("Clips with the same highest class", f"{proof.top_class:.2%}"),
        ("The same decisions" + _at(proof), "" if proof.decisions is None else f"{proof.decisions:.3%}"),
        ("Network file", f"{proof.bytes['network'] / 1e6:.2f} MB"),
        ("Parameters in float32", f"{proof.bytes['parameters'] / 1e6:.2f} MB"),
        (f"{lengths.clip:g} s on one thread, torch", f"{proof.milliseconds['torch']:.1f} ms"),
        (f"{lengths.clip:g} s on one thread, ONNX Runtime", f"{proof.milliseconds['onnx']:.1f} ms"),
    ]
    lines += ["| | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows if value), ""]
    if proof.check:
        lines += ["| Measure | torch | export |", "| --- | ---: | ---: |"]
        lines += [f"| {name} | {_number(a)} | {_number(b)} |" for name, (a, b) in proof.check.items()] + [""]
    return "\n".join(lines)


def _calibrated(proof: Proof) -> str:
    made = proof.calibrated
    return "" if made is None else f"{made['passes']} passes of {made['sounds']}"


def _differences(proof: Proof) -> list[tuple[str, str]]:
    found: dict[str, Difference | None] = {"features": proof.features, "logits": proof.logits, "scores": proof.scores}
    return [
        (f"Largest difference of {name}", f"{one.largest:.1e} ({one.relative:.1e} of the largest)")
        for name, one in found.items()
        if one is not None
    ]


def _at(proof: Proof) -> str:
    return " at the tuned thresholds" if proof.threshold == "tuned" else f" at a threshold of {proof.threshold}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
