"""``python -m audiotag`` is the command ``audiotag``."""

from audiotag.cli.main import run

run()
