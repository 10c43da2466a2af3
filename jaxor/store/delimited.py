"""Writing a table as text: one CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jaxor.store.tables import STATUS_NAMES, Table

_ROWS = 2**14  # at a time: strings take ten times the memory of their numbers


def write(file: BinaryIO, table: Table) -> None:
    """Write a table as comma-separated UTF-8: a line of names, then a line for each row.

    Floats have the fewest digits that give the same number again, read in their own type.

    Parameters
    ----------
    file : BinaryIO
        Empty.
    table : Table
    """
    header = StringIO()
    csv.writer(header, lineterminator="\n").writerow(table.columns)  # names may need quotes; numbers never do
    file.write(header.getvalue().encode())
    for piece in table.pieces:
        for start in range(0, len(piece[0]), _ROWS):
            texts = [
                _texts(name, values[start : start + _ROWS]) for name, values in zip(table.columns, piece, strict=True)
            ]
            file.write("".join(f"{','.join(row)}\n" for row in zip(*texts, strict=True)).encode())


def _texts(name: str, values: NDArray[Any]) -> Iterable[str]:
    if name == "status":
        return [STATUS_NAMES[value] for value in values.tolist()]
    if values.dtype == np.bool_:
        return ["true" if value else "false" for value in values.tolist()]
    # NumPy knows the shortest text of a float32; as Python's floats they would be float64.
    return map(str, values if values.dtype == np.float32 else values.tolist())
