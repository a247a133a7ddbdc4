"""What the host knows about one plugin."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from audiotag.display import brief_repr
from audiotag.errors import AudiotagError

CORE_DISTRIBUTION = "audiotag"
SLOW_IMPORT_SECONDS = 1.0


@brief_repr
@dataclass
class PluginRecord:
    """One entry point of the group ``audiotag`` and what came of it.

    Attributes:
        name: Name of the entry point.
        distribution: Distribution that brings it, and its `version`.
        module: What the entry point refers to.
        status: ``"loaded"``, ``"failed"`` (at import, or in one of its hooks) or ``"skipped"`` (left
            out by the user).
        problems: What is wrong, with what to do; not empty for a failed plugin, and possible for a loaded one
            (a name that another plugin registers too, a slow import).
        reason: Why it failed, in a few words; empty for one that did not.
        hooks: Hooks it implements.
        provides: Kind (``"backbones"``, …) → names.
        seconds: Time that importing it took.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: Literal["loaded", "failed", "skipped"] = "loaded"
    problems: list[str] = field(default_factory=list)
    reason: str = ""
    hooks: list[str] = field(default_factory=list)
    provides: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Distribution and version, as messages name it."""
        return f"{self.distribution} {self.version}"

    @property
    def place(self) -> str:
        """The plugin as errors that its code has raised name it."""
        return f"plugin {self.name!r} of {self.label}"

    def fail(self, error: AudiotagError) -> None:
        """Note that the plugin failed with *error*."""
        self.status = "failed"
        self.reason = error.what
        self.problems.append(str(error))

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types."""
        facts = {name: value for name, value in asdict(self).items() if name not in ("reason", "seconds")}
        return {**facts, "import_seconds": round(self.seconds, 4)}
