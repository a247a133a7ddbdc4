"""Tag sounds in recordings, teach a model new ones, and measure it.

    import audiotag

    tagger = audiotag.load("mn10_as")
    print(tagger.tag("clip.wav").to_frame())

Names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiotag.evaluation.evaluate import evaluate as evaluate
    from audiotag.inference.tagger import Tagger as Tagger
    from audiotag.inference.tagger import load as load
    from audiotag.labels import LabelSet as LabelSet
    from audiotag.models.create import create_backbone as create_backbone
    from audiotag.models.published import load_published as load_published
    from audiotag.training.comparison import compare as compare
    from audiotag.training.finetune import finetune as finetune

_PUBLIC = {
    "LabelSet": "audiotag.labels",
    "Tagger": "audiotag.inference.tagger",
    "compare": "audiotag.training.comparison",
    "create_backbone": "audiotag.models.create",
    "evaluate": "audiotag.evaluation.evaluate",
    "finetune": "audiotag.training.finetune",
    "load": "audiotag.inference.tagger",
    "load_published": "audiotag.models.published",
}

__all__ = ["LabelSet", "Tagger", "compare", "create_backbone", "evaluate", "finetune", "load", "load_published"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("audiotag")
    if name in _PUBLIC:
        from audiotag.errors import needed_for

        with needed_for(f"audiotag.{name}"):
            return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
