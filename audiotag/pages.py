"""HTML pages from the templates in ``audiotag/templates/pages``: nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **content: Any) -> str:
    """The page that *template* makes of *content*, all of which is escaped.

    Reports show ``eyebrow``, ``name``, ``data`` and ``warnings``, and have their ``title``; see ``page.html``. Pages of
    the server are in the folder ``serve``.

    Args:
        template: Name of a file in the folder of templates.
        content: What the template shows. A name that it needs and is not given raises `jinja2.UndefinedError`.
    """
    return _environment().get_template(template).render(content)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("audiotag", "templates/pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = version("audiotag")
    return environment
