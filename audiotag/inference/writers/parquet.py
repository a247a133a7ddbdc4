"""Parquet, for data frames and databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from audiotag.data.detections import COLUMNS, TIME
from audiotag.errors import needed_for
from audiotag.inference.writers.base import FileWriter, WriterSettings
from audiotag.inference.writers.rows import Result

_ROWS_IN_A_GROUP = 65_536


class ParquetWriter(FileWriter):
    r"""A Parquet file with the columns of the CSV: times float64, score float32.

    Bytes of a file name that are no UTF-8 are escaped (``\udce9``).

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, settings: WriterSettings, file: IO[bytes]) -> None:
        with needed_for("writing Parquet"):
            import pyarrow
            import pyarrow.parquet
        text, number = pyarrow.string(), pyarrow.float64()
        types = (text, number, number, text, text, pyarrow.float32())
        fields = [*zip(COLUMNS, types, strict=True)] + ([(TIME, text)] if settings.absolute_times else [])
        self._schema = pyarrow.schema(fields)
        self._pyarrow = pyarrow
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}

    def write(self, result: Result) -> None:
        """Add one clip."""
        # Arrow's text is valid UTF-8, and names of files need not be.
        path = str(result.path).encode("utf-8", "backslashreplace").decode()
        for row in result.rows:
            values = (path, row.onset, row.offset, row.label, row.mid, row.score, result.time_of(row))
            for column, value in zip(self._columns.values(), values, strict=False):  # without the last, or with it
                column.append(value)
        if len(self._columns[COLUMNS[0]]) >= _ROWS_IN_A_GROUP:
            self._flush()

    def write_columns(self, columns: Mapping[str, Any]) -> None:
        """Add many rows at once, some ten times as fast: name → values of each column, a list or an array."""
        arrays = [self._pyarrow.array(columns[field.name], type=field.type) for field in self._schema]
        self._writer.write_table(self._pyarrow.table(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the rest and the file's index."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._columns[COLUMNS[0]]:
            self.write_columns(self._columns)
            for column in self._columns.values():
                column.clear()
