"""Networks: their contract, how they are made, saved, loaded and measured.

The package can be called: ``audiotag.models()`` lists the models that there are, as `known_models` does.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from audiotag.exports import exports

if TYPE_CHECKING:
    from audiotag.models.known import KnownModels

__getattr__, __dir__, __all__ = exports(__name__, __file__)


class _Models(ModuleType):
    def __call__(self, family: str | None = None, *, published: bool = False) -> KnownModels:
        """The models and families that the installed plugins bring; see `audiotag.models.known_models`."""
        from audiotag.models.known import known_models

        return known_models(family, published=published)


sys.modules[__name__].__class__ = _Models
