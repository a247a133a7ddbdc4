"""``audiotag demo`` begins in a folder of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from audiotag.cli.main import main


@pytest.mark.parametrize("name", ["data", "run", "report", "diary"])
def test_the_demo_touches_no_folder_that_holds_something(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "diary").write_text("precious")
    done = CliRunner().invoke(main, ["demo", "--output", str(tmp_path)])
    assert "the folder is not empty" in str(done.exception)
    assert [path.name for path in tmp_path.rglob("*")] == [name, "diary"]
