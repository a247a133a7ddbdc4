"""Pictures drawn with matplotlib (``audiotag[plots]``): one way to begin and to write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audiotag.errors import OptionError, needed_for
from audiotag.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")


def require_drawing() -> None:
    """Do nothing where figures can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with needed_for("drawing figures"):
        import matplotlib.figure  # noqa: F401 # only whether it is there


@contextmanager
def drawing(path: str | Path, width: float = 9.0, height: float = 6.0, *, dpi: int = 120) -> Iterator[Figure]:
    """A new figure; what the block draws on it is written to *path*.

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
    require_drawing()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=format, dpi=dpi)


def plain(name: str) -> str:
    """*name* as text that matplotlib does not read as mathematics."""
    return name.replace("$", r"\$")
