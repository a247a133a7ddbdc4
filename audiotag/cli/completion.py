"""``audiotag completion``: what the shell completes, from the commands and the registries, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_SHELLS = ("bash", "zsh", "fish")

_REGISTERED: Mapping[str, str] = {
    **dict.fromkeys(("--model", "--backbone", "--finished", "--teacher", "--ensemble"), "backbones"),
    "--recipe": "recipes",
    "--loss": "losses",
    "--sampler": "sampling_policies",
    "--policy": "sampling_policies",
    "--augment": "augmentations",
    "--optimiser": "optimisers",
    "--schedule": "schedules",
    "--metric": "metrics",
    "--format": "datasets",
}
"""Option → the kind of thing that it names."""

_ROLES: Mapping[str, str] = {"--sampler": "training", "--policy": "storage"}
"""Option → the role of those that it takes."""

_PATHS = ("PATH", "FOLDER", "FILE", "CSV", "STORE", "EXPORT", "SOURCE")

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


def names_of(kind: str, role: str | None = None) -> Completer:
    """What completes the name of something that plugins bring, such as ``"backbones"``, also after a comma.

    Args:
        kind: Of things.
        role: Of those of them that are meant, where there are several.
    """

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from audiotag.host import get_host
        from audiotag.host.kinds import KINDS

        registry = get_host().registry(KINDS[kind].spec)
        fit = [name for name, one in registry.items() if role in (None, getattr(one, "role", None))]
        return _matching(incomplete, fit)

    return complete


def complete_value(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The names that an option takes, and files where it takes those."""
    from click.shell_completion import CompletionItem

    spelled = next((one for one in parameter.opts if one in _REGISTERED), None)
    found = []
    if spelled is not None:
        found = names_of(_REGISTERED[spelled], _ROLES.get(spelled))(ctx, parameter, incomplete)
    if "--labels" in parameter.opts:
        from audiotag.labels import CORE_LISTS

        found = _matching(incomplete, CORE_LISTS)
    if not found and any(word in (parameter.metavar or "") for word in _PATHS):
        found = [CompletionItem(incomplete, type="file")]
    return found


def _matching(incomplete: str, names: Iterable[str]) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]


@click.command(short_help="Let the shell complete commands, options and names.")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Let the shell complete commands, options and names: print the script that does it.

    \b
    bash: eval "$(audiotag completion bash)" in ~/.bashrc
    zsh:  eval "$(audiotag completion zsh)" in ~/.zshrc
    fish: audiotag completion fish > ~/.config/fish/completions/audiotag.fish
    """  # noqa: D301 # click takes the control character, not the two signs
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    script = made(ctx.find_root().command, {}, "audiotag", "_AUDIOTAG_COMPLETE")
    click.echo(script.source_template % script.source_vars())  # its `source` would start the shell, to ask its version
