"""Writing a table as one Parquet file; to be imported where it is asked for, since pyarrow is an extra."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow.parquet import ParquetWriter

from jaxor.store.tables import STATUS_NAMES, Table


def write(file: BinaryIO, table: Table) -> None:
    """Write a table with pyarrow, a row group for each piece.

    Parameters
    ----------
    file : BinaryIO
        Empty.
    table : Table
        Its attributes become metadata of the schema.
    """
    metadata = {name: str(value) for name, value in table.attributes.items() if name != "Conventions"}  # of netCDF
    schema = pyarrow.schema([_field(*named) for named in table.columns.items()], metadata)
    # Hardly two floats are equal: trying dictionaries takes twice the time and leaves a file a quarter larger.
    repeating = [name for name, dtype in table.columns.items() if dtype.kind != "f"]
    with ParquetWriter(file, schema, use_dictionary=repeating) as writer:  # pyright: ignore[reportArgumentType]
        for piece in table.pieces:
            columns = [_column(*named) for named in zip(table.columns, piece, strict=True)]
            batch = pyarrow.Table.from_arrays(columns, schema=schema)
            writer.write_table(batch, row_group_size=max(len(batch), 1))


def _field(name: str, dtype: np.dtype[Any]) -> pyarrow.Field:
    status = pyarrow.dictionary(pyarrow.int8(), pyarrow.string())
    return pyarrow.field(name, status if name == "status" else pyarrow.from_numpy_dtype(dtype), nullable=False)


def _column(name: str, values: NDArray[Any]) -> pyarrow.Array:
    if name == "status":
        return pyarrow.DictionaryArray.from_arrays(values, STATUS_NAMES)
    return pyarrow.array(np.ascontiguousarray(values))
