"""The one style of all pictures."""

import numpy as np
import pytest

from audiotag.continual.plots import plot_benchmark
from audiotag.drawing import axes_for, drawing, dress, legend_above, plain
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.labels import LabelSet
from audiotag.training.comparison_table import Comparison, plot_comparison, ranked

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _no_figures_stay():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, as they were when they were."""
    from matplotlib.figure import Figure

    kept, write = [], Figure.savefig

    def keep(figure, *arguments, **options):
        write(figure, *arguments, **options)
        kept.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def evaluation(classes=3, single_label=True):
    generator = np.random.default_rng(0)
    targets = np.eye(classes)[np.arange(10 * classes) % classes]
    scores = targets * 0.3 + generator.random(targets.shape)
    names = [f"class {number}" for number in range(classes)]
    return evaluate_scores(targets, scores / scores.max(), LabelSet.from_names(names), single_label=single_label)


def test_things_differ_by_more_than_colour():
    looks = [dress(place) for place in range(280)]
    assert len({(look.colour, look.pattern, look.marker) for look in looks}) == 280
    first = looks[:7]
    assert len({look.colour for look in first}) == len({look.marker for look in first}) == 7
    assert len({look.hatch for look in first}) == 7
    assert len({look.pattern for look in first[:5]}) == 5
    assert [look.width for look in first[:5]] == sorted({look.width for look in first[:5]}, reverse=True)


def test_colours_differ_for_the_colour_blind_and_from_paper():
    # Viénot, Brettel and Mollon (1999): what a dichromat sees of linear RGB, red-blind and green-blind
    seen = {
        "red-blind": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "green-blind": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    }
    from matplotlib.colors import to_rgb

    from audiotag.drawing import COLOURS

    linear = np.array([to_rgb(colour) for colour in (*COLOURS, "white")]) ** 2.2
    for matrix in seen.values():
        shown = (linear @ np.array(matrix).T).clip(0, 1) ** (1 / 2.2)
        apart = np.abs(shown[:, None] - shown[None]).sum(axis=-1) + np.eye(len(shown))
        assert apart.min() > 0.2


def test_a_users_settings_neither_change_our_pictures_nor_are_changed(tmp_path, drawn):
    from matplotlib import rcParams

    rcParams["axes.facecolor"], rcParams["font.size"] = "black", 31
    try:
        with drawing(tmp_path / "a.png") as figure:
            axes = figure.add_subplot()
        assert matplotlib.colors.to_hex(axes.get_facecolor()) == "#ffffff"
        assert rcParams["font.size"] == 31
    finally:
        matplotlib.rcdefaults()


def test_a_legend_covers_nothing(tmp_path, drawn):
    for single_label in (True, False):
        evaluation(single_label=single_label).plot("average_precision").figure.savefig(tmp_path / "a.png")
        evaluation(100, single_label).plot("average_precision").figure.savefig(tmp_path / "a.png")
        evaluation(single_label=single_label).plot("precision_recall").figure.savefig(tmp_path / "a.png")
    assert len(drawn) == 6
    for figure in drawn:
        (axes,) = figure.axes
        assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_names_that_matplotlib_would_read_otherwise():
    with axes_for(None) as axes:
        (line,) = axes.plot([0, 1])
        legend_above(axes, {plain("_under $a$\n\x1b"): line})
    (text,) = axes.get_legend().get_texts()
    assert text.get_text() == r"_under \$a\$\u000a\u001b"
    assert len(plain("x" * 500)) == 40


def test_a_callers_axes_are_drawn_on():
    from matplotlib import pyplot

    _, given = pyplot.subplots()
    assert evaluation().plot("confusion", ax=given) is given
    assert len(pyplot.get_fignums()) == 1


def comparison(points):
    rows = [
        {"name": f"model_{place}", "backbone": "x", "score": score, "macs": macs, "error": ""}
        for place, (macs, score) in enumerate(points)
    ]
    return Comparison(ranked(rows), "accuracy", "clips", 5.0, 1, "cpu")


@pytest.mark.parametrize(
    "points",
    [
        [(3e7, 0.81), (3.1e7, 0.812), (3.3e7, 0.8), (4e8, 0.9)],
        [(3e7, 0.81)],
        [(1e6, 0.5), (3e11, 0.9), (0, 0.4)],
        [(2.6e7, 0.8), (2.9e7, 0.81), (2.7e7, 0.805)],
        [(1e8, 0.8), (1e8, 0.8), (1.01e8, 0.8), (1e10, 0.9)],
    ],
)
def test_a_comparison_has_ticks_at_one_height_and_names_side_by_side(tmp_path, drawn, points):
    plot_comparison(comparison(points), tmp_path / "a.png")
    (axes,) = drawn[0].axes
    low, high = axes.get_xlim()
    ticks = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert len(ticks) >= 2
    assert not axes.get_xticklabels(minor=True)
    heights = {round(box.y1, 3) for box in (label.get_window_extent() for label in ticks)}
    assert len(heights) == 1
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(points)
    for place, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[place + 1 :])


def test_lines_that_lie_on_each_other_are_all_seen(tmp_path, drawn):
    from audiotag.continual.benchmark import OnlineBenchmark

    scores = np.where(np.tri(9, dtype=bool), 0.5, np.nan)[None, None].repeat(4, axis=0)
    names = ("a", "b", "c", "d")
    none = np.zeros((4, 1))
    plot_benchmark(OnlineBenchmark("accuracy", names, (0,), scores, none.astype(int), none, none), tmp_path / "a.png")
    lines = drawn[0].axes[0].lines
    assert len(lines) == 4
    for sizes in ([line.get_linewidth() for line in lines], [line.get_markersize() for line in lines]):
        assert sizes == sorted(set(sizes), reverse=True)
    assert len({line.get_linestyle() for line in lines}) > 1 and len({line.get_marker() for line in lines}) == 4
