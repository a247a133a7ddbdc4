"""A self-contained HTML page of an evaluation: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

import numpy as np

from audiotag.evaluation.charts import bar, confusion_table, confusions, curve_figure
from audiotag.evaluation.definitions import meaning, shown, title
from audiotag.evaluation.measurement import FoldMeasurements, Measurement

MAX_CURVES = 24
"""Curves on a page; with more classes, half of these are the best and half the worst."""

MAX_MATRIX = 50
"""Classes of a confusion matrix that is drawn; beyond, the most frequent confusions stand alone."""

FOOTER = "The numbers are in metrics.json and per_class.csv beside this page, and docs/metrics.md defines them."

_MAX_CONFUSIONS = 20
_MAX_CLIPS = 200
_CARDS_MULTI = ("mAP", "mAUC", "d_prime_of_mean_auc", "micro_f1", "macro_f1")
_CARDS_SINGLE = ("accuracy", "top_3_accuracy", "mAP", "mAUC", "macro_f1")
_COUNTS = ("clips", "failed_clips", "classes", "classes_with_positives", "detections_of_classes_without_positives")


def render_report(result: Measurement, *, folds: FoldMeasurements | None = None) -> str:
    """The page as text.

    Args:
        result: What to show.
        folds: The cross-validation that *result* pools; its folds get a table.
    """
    sections = [
        _folds_section(folds) if folds is not None else "",
        _summary_section(result),
        _classes_section(result),
        _curves_section(result),
        _confusion_section(result),
    ]
    page = Template(files("audiotag.evaluation").joinpath("report_page.html").read_text(encoding="utf-8"))
    kind = "single-label" if result.single_label else "multi-label"
    count = "" if folds is None else f"{len(folds.folds)}-fold cross-validation · "
    return page.substitute(
        title=escape(f"{result.model or 'Model'} – evaluation"),
        eyebrow=escape(f"Evaluation · {count}{kind}"),
        model=escape(result.model or "Model"),
        data=escape(f"{result.summary['clips']} clips of {result.measured_on}"),
        warnings=warnings_html(result.warnings),
        cards=_cards(result, folds),
        notes=_notes(result),
        sections="\n".join(section for section in sections if section),
        footer=FOOTER,
        version=escape(version("audiotag")),
    )


def warnings_html(warnings: Iterable[str]) -> str:
    """What a reader must know before the numbers."""
    return "".join(f'<p class="warning" role="alert"><b>Warning:</b> {escape(one)}</p>' for one in warnings)


def _cards(result: Measurement, folds: FoldMeasurements | None) -> str:
    wanted = [name for name in (_CARDS_SINGLE if result.single_label else _CARDS_MULTI) if name in result.summary]
    cards = []
    for name in wanted:
        if folds is None:
            value, spread = shown(result.summary[name]), ""
        else:
            value, spread = shown(folds.mean[name]), f"<small>± {shown(folds.std[name])} over folds</small>"
        cards.append(
            f'<div title="{escape(meaning(name))}"><dt>{escape(title(name))}</dt><dd>{value}{spread}</dd></div>'
        )
    return f'<dl class="cards">{"".join(cards)}</dl>'


def _notes(result: Measurement) -> str:
    names = dict(zip(result.labels.mids, result.labels.names, strict=True))
    notes = [
        _note("clips could not be read and count nowhere", [f"{clip}: {reason}" for clip, reason in result.failed]),
        _note(
            "labels of the data are not classes of the model and were left out",
            [f"{label} ({count} clips)" for label, count in result.skipped.items()],
        ),
        _note(
            "classes occur in no clip and are left out of every mean", [names[mid] for mid in result.without_positives]
        ),
        _note("classes occur in every clip and have no AUC", [names[mid] for mid in result.without_negatives]),
    ]
    if result.clip_ids:
        more = ["… (all are in metrics.json)"] if len(result.clip_ids) > _MAX_CLIPS else []
        listed = [*result.clip_ids[:_MAX_CLIPS], *more]
        items = "".join(f"<li>{escape(name)}</li>" for name in listed)
        summary = f"<summary>{len(result.clip_ids)} clips were measured on</summary>"
        notes.append(f'<details class="note plain">{summary}<ul>{items}</ul></details>')
    if result.absent:
        notes.append(f'<p class="note">{result.absent} clips that the data lists have no recording</p>')
    return "\n".join(note for note in notes if note)


def _note(what: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<details class="note"><summary>{len(items)} {what}</summary><ul>{listed}</ul></details>'


def table_html(head: Iterable[tuple[str, bool]], rows: Iterable[Iterable[tuple[str, str]]], kind: str = "wide") -> str:
    """A table from column titles (text, whether left-aligned) and cells (HTML, class)."""
    columns = "".join(f'<th scope="col" class="{"text" if left else ""}">{escape(text)}</th>' for text, left in head)
    body = "".join("<tr>" + "".join(f'<td class="{c}">{cell}</td>' for cell, c in row) + "</tr>" for row in rows)
    return f'<div class="{kind}"><table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'


def _summary_section(result: Measurement) -> str:
    rows = [
        [(escape(title(name)), "text"), (shown(value), ""), (escape(meaning(name)), "text soft")]
        for name, value in result.summary.items()
    ]
    head = [("Measure", True), ("Value", False), ("What it is", True)]
    return f"<h2>Summary</h2>{table_html(head, rows)}"


def _folds_section(folds: FoldMeasurements) -> str:
    wanted = [name for name in folds.table.columns if name not in ("fold", *_COUNTS)]
    rows = [
        [(str(fold), ""), (str(result.summary["clips"]), ""), *((shown(result.summary[name]), "") for name in wanted)]
        for fold, result in folds.folds.items()
    ]
    for label, values in (("mean", folds.mean), ("std", folds.std)):
        rows.append([(label, ""), ("", ""), *((shown(values[name]), "") for name in wanted)])
    head = [("Fold", False), ("Clips", False), *((title(name), False) for name in wanted)]
    note = (
        "Each clip is judged by the model that has not learnt from it. Everything below pools the clips of all folds."
    )
    return f"<h2>Folds</h2><p class='soft'>{note}</p>{table_html(head, rows)}"


def _classes_section(result: Measurement) -> str:
    table = result.per_class.sort_values("average_precision", ascending=False, kind="stable", na_position="last")
    numbers = ["average_precision", "roc_auc", "precision", "recall", "f1"]
    numbers += ["threshold"] if "threshold" in table else []
    rows = []
    for record in table.to_dict(orient="records"):
        if record["support"] == 0:
            continue
        cells = [(escape(str(record["name"])), "text"), (str(record["support"]), ""), (str(record["detected"]), "")]
        cells.append((bar(record["average_precision"]), "bar"))
        cells += [(shown(float(record[name]), 3), "") for name in numbers]
        rows.append(cells)
    titles = {"average_precision": "AP", "roc_auc": "AUC", "f1": "F1"}
    head = [("Class", True), ("Clips", False), ("Decided", False), ("Average precision", True)]
    head += [(titles.get(name, name.capitalize()), False) for name in numbers]
    return f"<h2>Classes</h2>{table_html(head, rows, 'wide tall')}"


def _curves_section(result: Measurement) -> str:
    table = result.per_class[result.per_class["support"] > 0]
    if table.empty or not result.targets.size:
        return ""
    ranked = table.sort_values("average_precision", ascending=False, kind="stable")
    note = "Steps whose area is the average precision, from the best class to the worst."
    if len(ranked) > MAX_CURVES:
        half = MAX_CURVES // 2
        note = f"The {half} best and the {half} worst of {len(ranked)} classes."
        ranked = ranked.iloc[[*range(half), *range(len(ranked) - half, len(ranked))]]
    figures = []
    for record in ranked.to_dict(orient="records"):
        column = int(record["index"])
        operating = (float(record["recall"]), float(record["precision"])) if record["detected"] else None
        figures.append(
            curve_figure(
                str(record["name"]),
                *result.column(column),
                float(record["average_precision"]),
                operating,
            )
        )
    note += (
        " Precision upwards, recall to the right; the dashed line is the precision of guessing, the dot where the "
        "decisions stand."
    )
    return f"<h2>Precision-recall curves</h2><p class='soft'>{note}</p><div class='curves'>{''.join(figures)}</div>"


def _confusion_section(result: Measurement) -> str:
    if result.confusion is None:
        return ""
    used = np.flatnonzero(result.confusion.sum(axis=0) + result.confusion.sum(axis=1))
    names = [result.labels.names[index] for index in used]
    matrix = result.confusion[np.ix_(used, used)]
    parts = ["<h2>Confusion</h2>"]
    if len(used) <= MAX_MATRIX:
        parts.append("<p class='soft'>Clips, shaded by their share of the true class.</p>")
        parts.append(confusion_table(names, matrix))
    else:
        parts.append(f"<p class='soft'>The whole matrix of {len(used)} classes is in confusion.csv.</p>")
    mistakes = confusions(names, matrix, _MAX_CONFUSIONS)
    if mistakes:
        rows = [
            [(escape(true), "text"), (escape(taken), "text"), (str(count), ""), (f"{share:.0%}", "")]
            for true, taken, count, share in mistakes
        ]
        head = [("True class", True), ("Taken for", True), ("Clips", False), ("Share of the true class", False)]
        parts.append(f"<h2>Most frequent confusions</h2>{table_html(head, rows)}")
    return "".join(parts)
