"""PSLA's EfficientNet with attention pooling for audiotag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiotag_psla.imagenet import warm_start as warm_start

__all__ = ["warm_start"]


def __getattr__(name: str) -> Any:
    if name == "warm_start":
        from audiotag_psla.imagenet import warm_start

        return warm_start
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
