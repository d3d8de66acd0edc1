"""Rows for binary COPY, made from columns of numbers: a block of bytes per table, not an object per row.

A field is its length (-1 = NULL) and its value, big-endian; a row is the number of its fields and the fields.
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_LENGTH = np.dtype(">i4")
_NULL = -1


@dataclass(frozen=True, slots=True)
class Column:
    """One column of n rows.

    Attributes:
        values: shape (n,); dtype big-endian and as wide as the column's type: >i4 integer, >i8 bigint, >f4 real.
        known: shape (n,); False = NULL. None = no value is NULL.
    """

    values: NDArray[Any]  # of the dtypes above
    known: NDArray[np.bool_] | None = None


def encode_rows(columns: Sequence[Column]) -> bytes:
    """The rows, between `HEADER` and `TRAILER`. A column that is NULL throughout costs no more than its length."""
    fields: list[tuple[str, np.dtype[Any]]] = [("count", np.dtype(">i2"))]
    for i, column in enumerate(columns):
        fields.append((f"length{i}", _LENGTH))
        if column.known is None or column.known.any():
            fields.append((f"value{i}", column.values.dtype))
    table = np.empty(len(columns[0].values), dtype=fields)
    table["count"] = len(columns)
    kept: NDArray[np.bool_] | None = None
    for i, column in enumerate(columns):
        size = column.values.dtype.itemsize
        table[f"length{i}"] = size if column.known is None else np.where(column.known, size, _NULL)
        if (place := table.dtype.fields.get(f"value{i}")) is None:  # type: ignore[union-attr]  # it has fields
            continue
        table[f"value{i}"] = column.values
        if column.known is not None and not column.known.all():
            kept = np.ones((len(table), table.itemsize), np.bool_) if kept is None else kept
            kept[:, place[1] : place[1] + size] &= column.known[:, np.newaxis]
    if kept is None:
        return table.tobytes()
    return table.view(np.uint8).reshape(kept.shape)[kept].tobytes()
