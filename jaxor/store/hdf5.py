"""HDF5 files with the variables of the schema: laying them out, and looking into one without trusting it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from jaxor.store.errors import NewerFormat, StoreError
from jaxor.store.schema import PARAM, SCHEMA, STRLEN, Attributes, Variable, characters

# Compressors and checksums that every build of HDF5 has, and the only ones that are read. Losses and parameters are not
# compressed: it would make files of traces a quarter smaller and take ten times as long as writing them.
_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_CHECKED_ONLY = (h5py.h5z.FILTER_FLETCHER32,)
_FILTERS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32)
_CHECKSUM_BYTES = 4
_CHUNK_BYTES = 2**18
_SMALLEST_CHUNK = 2**16  # HDF5 takes memory for each chunk, also for one that is not there
# How much larger arrays are than their file, at most. Floats are not compressed, and those of runs are about as long as
# the integers beside them: 2.75 with losses in float32. Counts are mostly zeros.
_LARGEST_RATIO = {"runs": 3, "counts": 200}
_LARGEST_SMALL = 2**25  # bytes of counts that are read whatever the file's size
_FORMAT = ("v110", "v110")  # dense attributes and compact chunk indices; HDF5 reads it since 2016

File = Any
"""An `h5py.File`; by h5py's own annotations every item of it may be a group."""

_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable.%10d"


def create(target: Any) -> File:
    """Start an HDF5 file in a binary file object that can be read, written and searched."""
    return h5py.File(target, "w", libver=_FORMAT, track_order=True)


def packed(
    variables: Mapping[str, Variable],
    arrays: Mapping[str, NDArray[Any]],
    floats: np.dtype[Any],
    attributes: Attributes,
    param_names: tuple[str, ...] = (),
) -> bytes:
    """A whole file as bytes; equal arrays give equal bytes. Arguments as those of `define`, with the values."""
    shapes = ((variables[name].dims, array.shape) for name, array in arrays.items())
    sizes = {dim: size for dims, shape in shapes for dim, size in zip(dims, shape, strict=True) if dim != "param"}
    data = BytesIO()
    with create(data) as file:
        define(file, {name: variables[name] for name in arrays}, sizes, floats, attributes, param_names)
        for name, array in arrays.items():
            file[name][...] = array
    return data.getvalue()


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
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, zlib.error) as error:  # a damaged file
        raise StoreError(f"{name} cannot be read as a file of jaxor: {error}") from error


def number(file: File, name: str) -> int:
    """Read one number from the attributes of a file that is not trusted.

    Raises
    ------
    KeyError, ValueError
        It is not there, or something else.
    """
    return int(_attribute(file, name, "i", "number"))


def text(file: File, name: str) -> str:
    """Read one text without control characters from the attributes of a file that is not trusted.

    Raises
    ------
    KeyError, ValueError
        It is not there, or something else.
    """
    found = bytes(_attribute(file, name, "S", "text of fixed length")).decode()
    if not found.isprintable():  # a terminal might obey it
        raise ValueError(f"its attribute {name} has control characters")
    return found


def _attribute(file: File, name: str, kind: str, words: str) -> Any:
    declared = file.attrs.get_id(name)
    if declared.shape != () or declared.dtype.kind != kind:  # others may take any memory
        raise ValueError(f"its attribute {name} is not one {words}")
    return file.attrs[name]


def check_chunks(file: File, names: Iterable[str]) -> None:
    """Check that the chunks hold as much as declared.

    HDF5 itself would take memory for all that a chunk inflates to, and for what a short one lacks give whatever lies in
    memory behind it.

    Parameters
    ----------
    file : File
        From `reading`.
    names : iterable of str
        Of variables.

    Raises
    ------
    ValueError
        One holds more, or less.
    """
    for item in names:
        dataset = file[item]
        starts = range(0, dataset.shape[0], dataset.chunks[0]) if dataset.chunks else ()
        size = dataset.dtype.itemsize * math.prod(dataset.chunks or ())
        if any(_chunk_bytes(dataset, (start, *(0 for _ in dataset.shape[1:])), size) != size for start in starts):
            raise ValueError(f"a chunk of {item} is not as long as declared")


def _chunk_bytes(dataset: Any, place: tuple[int, ...], expected: int) -> int:
    """How many bytes a chunk holds, as far as one can tell without taking more memory than expected."""
    stored = dataset.id.get_chunk_info_by_coord(place)
    if stored.byte_offset is None or stored.filter_mask:  # not there, or other filters than those of the rest
        return -1
    if dataset.compression is None:
        return stored.size - _CHECKSUM_BYTES
    _, data = dataset.id.read_direct_chunk(place)
    return len(zlib.decompressobj().decompress(data, expected + 1))


def _check(file: File, name: str, variables: Mapping[str, Variable], required: Collection[str]) -> None:
    schema = number(file, "jaxor_schema")
    if schema > SCHEMA:
        raise NewerFormat(
            f"{name} was written by a newer jaxor (format {schema}, this one reads {SCHEMA}); upgrade jaxor"
        )
    known = {*variables, *(dim for variable in variables.values() for dim in variable.dims), STRLEN}
    if len(file) > len(known):
        raise StoreError(f"{name} is refused: it has {len(file)} entries, which jaxor never writes")
    arrays = {**variables, "param": PARAM}
    for item in file:
        refusal = _refusal(file, item, arrays.get(item)) if item in known else "is unknown"
        if refusal:
            raise StoreError(f"{name} is refused: {item!r:.60} {refusal}, which jaxor never writes")
    if lacking := [item for item in required if item not in file]:
        raise StoreError(f"{name} is refused: it lacks {', '.join(lacking)}")
    sizes: dict[str, int] = {}
    held = {item: file[item] for item in arrays if item in file}
    for item, dataset in held.items():
        for dim, length in zip(arrays[item].dims, dataset.shape, strict=True):
            if sizes.setdefault(dim, length) != length:
                raise StoreError(f"{name} is refused: {item!r} does not fit the other arrays along {dim!r}")
    # What is claimed is held against the bytes that are there, so that little files do not become large arrays.
    there = file.id.get_filesize()
    runs = "seed" in variables
    most = _LARGEST_RATIO["runs"] * there if runs else max(_LARGEST_RATIO["counts"] * there, _LARGEST_SMALL)
    if sum(dataset.nbytes for item, dataset in held.items() if item in variables) > most:
        raise StoreError(f"{name} is refused: its arrays claim more than its {there} bytes can hold")
    if sum(dataset.id.get_storage_size() for dataset in held.values()) > there:
        raise StoreError(f"{name} is refused: its arrays share their bytes, which jaxor never writes")


def _refusal(file: File, item: str, variable: Variable | None) -> str | None:
    """Why something in a file must not be read, if so; links are looked at before they are followed.

    Without a variable it stands for a dimension, and is never read.
    """
    if not isinstance(file.get(item, getlink=True), h5py.HardLink):
        return "is a link to elsewhere"
    dataset = file[item]
    if not isinstance(dataset, h5py.Dataset):
        return "is not an array of numbers"
    if dataset.external or dataset.is_virtual:  # before its shape, for which HDF5 would open the others
        return "has its values in other files"
    if variable is None:
        return None
    kinds = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)
    if dataset.id.get_type().get_class() not in kinds:  # others may be nested without end
        return "is not an array of numbers"
    if dataset.dtype not in [variable.type(np.dtype(floats)) for floats in ("<f4", "<f8")]:
        return f"is of type {dataset.dtype}"
    if dataset.ndim != len(variable.dims) or dataset.maxshape != dataset.shape:
        return "has another number of dimensions or no fixed shape"
    return _odd_layout(dataset)


def _odd_layout(dataset: h5py.Dataset) -> str | None:
    """What differs from how `define` lays out an array of that shape and type, if anything does."""
    created = dataset.id.get_create_plist()
    filters = tuple(created.get_filter(k)[0] for k in range(created.get_nfilters()))
    if not dataset.size:
        return None if dataset.chunks is None else "has chunks, but no values"
    if dataset.chunks is None or filters != (_CHECKED_ONLY if dataset.dtype.kind == "f" else _FILTERS):
        return "has other filters"
    rows, *row = dataset.chunks
    small = dataset.dtype.itemsize * math.prod(dataset.chunks) < min(dataset.nbytes, _SMALLEST_CHUNK)
    if small or rows > dataset.shape[0] or tuple(row) != dataset.shape[1:]:
        return f"has chunks of shape {dataset.chunks}"
    return None
