"""HDF5 files with the variables of the schema: laying them out, and looking into one without trusting it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jaxor.store.errors import NewerFormat, StoreError
from jaxor.store.schema import PARAM, SCHEMA, STRLEN, Attributes, Variable, characters

# Compressors and checksums that every build of HDF5 has, and the only ones that are read. Losses and parameters are not
# compressed: it would make files of traces a quarter smaller and take ten times as long as writing them.
_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_KNOWN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CHUNK_BYTES = 2**18
_LARGEST_RATIO = 1100  # deflate reaches 1032
_LARGEST_CHUNK = 2**24  # HDF5 takes memory for a whole chunk, whatever is in it
_FORMAT = ("v110", "v110")  # dense attributes and compact chunk indices; HDF5 reads it since 2016

File = Any
"""An `h5py.File`; by h5py's own annotations every item of it may be a group."""

_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable.%10d"


def create(target: Any) -> File:
    """Start an HDF5 file in a binary file object that can be read, written and searched."""
    return h5py.File(target, "w", libver=_FORMAT, track_order=True)


def define(
    file: File,
    variables: Mapping[str, Variable],
    sizes: Mapping[str, int],
    floats: np.dtype[Any],
    attributes: Attributes,
    param_names: tuple[str, ...] = (),
) -> None:
    """Lay out variables, dimensions and attributes; the values are still to be written.

    Parameters
    ----------
    file : File
        From `create`, empty.
    variables : mapping
        In order.
    sizes : mapping
        Lengths of the dimensions other than ``param``.
    floats : dtype
    attributes : mapping
        Of the file.
    param_names : tuple of str
        Written if one of the variables has the dimension ``param``.
    """
    used = {dim for variable in variables.values() for dim in variable.dims}
    sizes = {dim: size for dim, size in sizes.items() if dim in used}
    _annotate(file, attributes)
    for name, variable in variables.items():
        shape = tuple(len(param_names) if dim == "param" else sizes[dim] for dim in variable.dims)
        _annotate(_dataset(file, name, shape, variable.type(floats)), variable.attributes)
    if "param" in used:
        spelled = characters(param_names)
        dataset = _dataset(file, "param", spelled.shape, spelled.dtype)
        dataset[...] = spelled
        _annotate(dataset, PARAM.attributes)
        variables = {**variables, "param": PARAM}
        sizes |= dict(zip(PARAM.dims, spelled.shape, strict=True))
    _connect(file, variables, sizes)


def _dataset(file: File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    layout: dict[str, Any] = {}
    if all(shape):  # HDF5 cannot chunk what is empty, and only chunks can be compressed
        rows = _CHUNK_BYTES // (dtype.itemsize * math.prod(shape[1:]))
        layout = {"chunks": (min(max(rows, 1), shape[0]), *shape[1:]), "fletcher32": True}
        layout |= _COMPRESSED if dtype.kind != "f" else {}
    return file.create_dataset(name, shape, dtype, track_times=False, **layout)


def _connect(file: File, variables: Mapping[str, Variable], sizes: Mapping[str, int]) -> None:
    """Make dimensions of netCDF-4: a scale each, the coordinate variable or an empty stand-in, attached where used."""
    for number, (dim, size) in enumerate(sizes.items()):
        if dim not in file:
            file.create_dataset(dim, (size,), ">f4", track_times=False)
        file[dim].make_scale(dim if dim in variables else _NO_VARIABLE % size)
        file[dim].attrs["_Netcdf4Dimid"] = np.int32(number)
    for name, variable in variables.items():
        for axis, dim in enumerate(variable.dims):
            if name not in sizes:
                file[name].dims[axis].attach_scale(file[dim])
    if "param" in sizes:  # a scale cannot have scales of its own, so its second dimension is given by number
        numbers = [list(sizes).index(dim) for dim in PARAM.dims]
        file["param"].attrs["_Netcdf4Coordinates"] = np.array(numbers, np.int32)


def _annotate(target: Any, attributes: Attributes) -> None:
    for name, value in attributes.items():
        if isinstance(value, str):  # of fixed length: the variable ones live in a heap
            data = value.encode()
            target.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(len(data), 1)))
        else:
            target.attrs[name] = value


@contextmanager
def reading(source: bytes | Path, variables: Mapping[str, Variable], required: Collection[str]) -> Iterator[File]:
    """Open a finished file after a look at what it declares; nothing in it is followed or executed.

    Parameters
    ----------
    source : bytes or Path
    variables : mapping
        What may be in it.
    required : collection of str
        What must be in it.

    Raises
    ------
    StoreError
        If it is not such a file, declares what jaxor never writes, or cannot be read inside the ``with`` block.
    """
    name = str(source) if isinstance(source, Path) else "the shard in memory"
    try:
        # Nobody writes to a finished file, so no lock is needed; not every file system has them.
        with h5py.File(source if isinstance(source, Path) else BytesIO(source), "r", locking=False) as file:
            _check(file, name, variables, required)
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # what h5py raises for a damaged file
        raise StoreError(f"{name} cannot be read as a file of jaxor: {error}") from error


def _check(file: File, name: str, variables: Mapping[str, Variable], required: Collection[str]) -> None:
    schema = int(file.attrs["jaxor_schema"])
    if schema > SCHEMA:
        raise NewerFormat(
            f"{name} was written by a newer jaxor (format {schema}, this one reads {SCHEMA}); upgrade jaxor"
        )
    known = {*variables, *(dim for variable in variables.values() for dim in variable.dims), STRLEN}
    if len(file) > len(known):
        raise StoreError(f"{name} is refused: it has {len(file)} entries, which jaxor never writes")
    for item in file:
        refusal = "is unknown" if item not in known else _refusal(file, item, item in (*variables, "param"))
        if refusal:
            raise StoreError(f"{name} is refused: {item!r} {refusal}, which jaxor never writes")
    if lacking := [item for item in required if item not in file]:
        raise StoreError(f"{name} is refused: it lacks {', '.join(lacking)}")
    sizes: dict[str, int] = {}
    for item in file.keys() & variables.keys():
        for dim, length in zip(variables[item].dims, file[item].shape, strict=True):
            if sizes.setdefault(dim, length) != length:
                raise StoreError(f"{name} is refused: {item!r} does not fit the other arrays along {dim!r}")


def _refusal(file: File, item: str, holds_values: bool) -> str | None:
    """Why something in a file must not be read, if so; links are looked at before they are followed.

    What is claimed is held against the bytes that are there, so that little files do not become large arrays.
    """
    if not isinstance(file.get(item, getlink=True), h5py.HardLink):
        return "is a link to elsewhere"
    dataset = file[item]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "ifS":
        return "is not an array of numbers"
    if dataset.external or dataset.is_virtual:
        return "has its values in other files"
    created = dataset.id.get_create_plist()
    filters = {created.get_filter(k)[0] for k in range(created.get_nfilters())}
    if not filters <= _KNOWN_FILTERS:
        return "has an unknown filter"
    there = dataset.id.get_storage_size() * (_LARGEST_RATIO if h5py.h5z.FILTER_DEFLATE in filters else 1)
    if holds_values and dataset.nbytes > there:
        return f"claims {dataset.nbytes} bytes, but has {dataset.id.get_storage_size()}"
    row = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
    chunk = dataset.dtype.itemsize * math.prod(dataset.chunks or ())
    if dataset.maxshape != dataset.shape or chunk > max(row, _LARGEST_CHUNK):
        return f"has chunks of {chunk} bytes or no fixed shape"
    return None
