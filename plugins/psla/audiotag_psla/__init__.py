"""PSLA's EfficientNet with attention pooling for audiotag."""

from audiotag.plugin import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
