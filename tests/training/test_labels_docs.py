"""The Python example of docs/labels.md prints what the page says."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says(capsys):
    example = PAGE[PAGE.index("## From Python") :]
    exec(re.search(r"```python\n(.*?)```", example, re.DOTALL)[1], {})
    assert f"prints `{capsys.readouterr().out.strip()}`" in example
