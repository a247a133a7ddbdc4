"""Pictures drawn with matplotlib (``audiotag[plots]``): one style for all of them, one way to begin and to write them.

Colours are those of Okabe and Ito (2008), which the colour-blind tell apart, without the yellow, which white paper
swallows. Nothing is told by colour alone: `dress` gives each line a pattern and a marker, and each bar a hatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from audiotag.errors import OptionError, needed_for
from audiotag.files import atomic_path
from audiotag.printing import printable_name, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
ACCENT, MARK, *_ = COLOURS
INK, SOFT, FAINT = "#1d2329", "#5c6670", "#c3c9cd"
"""Text and axes; what is said by the way; grids, and what lies behind."""

SHADES = "magma"
"""The colour map of a spectrogram: from dark to bright in equal steps, for every eye and in grey print."""

_PATTERNS: Final = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = "os^DvXP*"
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "+++", "---")

_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "figure.facecolor": "white",  # never transparent: the ink is dark
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.hashsalt": "audiotag",
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
}
_OTHER_SCRIPTS = ("Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS", "Noto Sans", "Noto Emoji")
"""Fonts for names that matplotlib's own has no letters for, where they are installed."""


class Dress(NamedTuple):
    """How one of several things is drawn.

    Attributes:
        colour: One of `COLOURS`.
        pattern: Of a line, as ``linestyle``.
        marker: Of its points.
        hatch: Of a bar.
        width: Of a line, in points. Earlier ones are wider, so that one which lies below others shows at its sides and
            through their gaps.
    """

    colour: str
    pattern: Any
    marker: str
    hatch: str
    width: float


def dress(place: int) -> Dress:
    """The look of the thing at *place*; the first 280 differ."""
    return Dress(
        COLOURS[place % len(COLOURS)],
        _PATTERNS[place % len(_PATTERNS)],
        _MARKERS[place % len(_MARKERS)],
        _HATCHES[place % len(_HATCHES)],
        max(1.4, 3.4 - 0.4 * place),
    )


def require_drawing() -> None:
    """Do nothing where figures can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with needed_for("drawing figures"):
        import matplotlib.figure  # noqa: F401 # only whether it is there


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style within the block, whatever the user's settings of matplotlib are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_drawing()
    import matplotlib
    from matplotlib.font_manager import fontManager

    fonts = set(fontManager.get_font_names()).intersection(_OTHER_SCRIPTS)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = ["DejaVu Sans", *sorted(fonts, key=_OTHER_SCRIPTS.index)]
        yield


@contextmanager
def drawing(path: str | Path, width: float = 9.0, height: float = 6.0, *, dpi: int = 120) -> Iterator[Figure]:
    """A new figure in our style; what the block draws on it is written to *path*.

    Args:
        path: A file that ends in one of `FORMATS`.
        width: Inches.
        height: Inches.
        dpi: Pixels an inch, where there are any.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: The ending is another one.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    format = path.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        endings = f".{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}"
        raise OptionError(f"there is no figure format {format!r}", where=path, fix=f"Use {endings}.")
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=format, dpi=dpi)


@contextmanager
def axes_for(ax: Axes | None, width: float = 6.4, height: float = 4.0) -> Iterator[Axes]:
    """What a ``.plot(ax=None)`` draws on: *ax* as it is, or the axes of a new figure in our style.

    The new figure is one of pyplot's, so that a notebook shows it, and ``plt.show()`` and ``plt.savefig()`` work.

    Args:
        ax: Axes of the caller's, or None.
        width: Inches of the new figure.
        height: Inches of the new figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if ax is not None:
        yield ax
        return
    with styled():
        from matplotlib import pyplot

        yield pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()


def legend_above(drawn: Axes | Figure, entries: Mapping[str, Any], *, title: str | None = None) -> None:
    """A legend above *drawn*, where it covers nothing, in as many columns as its texts leave room for.

    Args:
        drawn: What it is about: axes, or all of a figure.
        entries: Text → the artist that it explains.
        title: What it says above all of them.
    """
    figure: Any = drawn.figure or drawn
    longest = max(map(len, entries), default=0)
    columns = int(figure.get_figwidth() * 12 // (longest + 7))  # letters of an inch
    whole = {"loc": "outside upper left"}
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.01), "borderaxespad": 0.2}
    drawn.legend(
        list(entries.values()),
        list(entries),
        ncols=max(1, min(columns, len(entries), 5)),
        title=title,
        alignment="left",
        title_fontsize="small",
        handlelength=3.2,
        **(whole if drawn is figure else above),
    )


def plain(name: object) -> str:
    """*name* as a line that matplotlib shows as it is, and does not read as mathematics; cut where it is long."""
    return shortened(printable_name(name), 40).replace("$", r"\$")
