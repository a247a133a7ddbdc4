"""Tag sounds in recordings, teach a model new ones, and measure it.

    import audiotag

    tagger = audiotag.load("mn10_as")
    print(tagger.tag("clip.wav").to_frame())

Names are resolved on first use, so that importing the package costs nothing.
"""

from audiotag.exports import exports

_resolve, __dir__, __all__ = exports(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("audiotag")
    return _resolve(name)
