"""Print how many small changes to each module of the numerical core the tests notice, from the results of mutmut.

``make mutants`` runs it last; alone it tells how far a run has come: ``python tests/mutants.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from mutmut.stats import status_by_exit_code

RESULTS = Path(__file__).parent.parent / "mutants"


def main() -> None:
    """Print a Markdown table; a change that makes the tests run for ever is noticed, one that no test runs is not."""
    print("| module | mutants | killed | survived | score |\n| --- | ---: | ---: | ---: | ---: |")
    all_made = all_killed = 0
    for path in sorted(RESULTS.rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].values()
        statuses = [status_by_exit_code[code] for code in codes]
        made = len(statuses) - statuses.count("not checked")
        killed = statuses.count("killed") + statuses.count("timeout")
        if made:
            _print_row(f"`{path.relative_to(RESULTS).as_posix().removesuffix('.meta')}`", made, killed)
        all_made, all_killed = all_made + made, all_killed + killed
    _print_row("all", all_made, all_killed)


def _print_row(name: str, made: int, killed: int) -> None:
    print(f"| {name} | {made} | {killed} | {made - killed} | {killed / max(made, 1):.1%} |")


if __name__ == "__main__":
    main()
