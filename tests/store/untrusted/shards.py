"""Crafted shards of runs: links, storage, types, layouts, attributes and values that jaxor never writes."""

from __future__ import annotations

import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.store.untrusted.crafting import attribute, of_runs, replace, rewrite

ELSEWHERE = "link to elsewhere"
NO_NUMBERS = "not an array of numbers"


@of_runs("other files")
def external_storage(file: Any, secret: Path) -> None:
    replace(file, "final_loss", (4,), "f4", external=[(os.fspath(secret), 0, 16)])


@of_runs(ELSEWHERE)
def external_link(file: Any, secret: Path) -> None:
    del file["final_loss"]
    file["final_loss"] = h5py.ExternalLink(os.fspath(secret), "/x")


@of_runs(ELSEWHERE)
def soft_link(file: Any, _: Path) -> None:
    del file["final_loss"]
    file["final_loss"] = h5py.SoftLink("/initial_loss")


@of_runs(ELSEWHERE)
def dangling_soft_link(file: Any, _: Path) -> None:
    del file["final_loss"]
    file["final_loss"] = h5py.SoftLink("/nowhere")


@of_runs(ELSEWHERE)
def soft_link_to_itself(file: Any, _: Path) -> None:
    del file["final_loss"]
    file["final_loss"] = h5py.SoftLink("/final_loss")


@of_runs(NO_NUMBERS)
def loop_of_hard_links(file: Any, _: Path) -> None:
    del file["final_loss"]
    file["final_loss"] = file["/"]


@of_runs("other files")
def virtual(file: Any, secret: Path) -> None:
    del file["final_loss"]
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(os.fspath(secret), "x", (4,))
    file.create_virtual_dataset("final_loss", layout)


@of_runs("other files")
def virtual_without_end(file: Any, secret: Path) -> None:
    """HDF5 opens the other file as soon as somebody asks for the shape."""
    del file["final_loss"]
    layout = h5py.VirtualLayout((4,), "f4", maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = h5py.VirtualSource(os.fspath(secret), "x", (4,), maxshape=(None,))[
        : h5py.h5s.UNLIMITED
    ]
    file.create_virtual_dataset("final_loss", layout)


@of_runs("does not fit")
def terabytes_in_chunks(file: Any, _: Path) -> None:
    replace(file, "final_loss", (2**40,), "f4", chunks=(2**20,), fletcher32=True)


@of_runs("other filters")
def terabytes_in_a_row(file: Any, _: Path) -> None:
    replace(file, "final_loss", (2**40,), "f4")


@of_runs("other filters")
def compact(file: Any, _: Path) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_layout(h5py.h5d.COMPACT)
    del file["final_loss"]
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"final_loss", h5py.h5t.IEEE_F32LE, space, created)


@of_runs("claim more")
def terabytes_never_written(file: Any, _: Path) -> None:
    """All arrays of the recorded steps agree that there are many."""
    count = 2**38
    replace(file, "trace_step", (count,), "i4", chunks=(2**16,), fletcher32=True, compression="gzip", shuffle=True)
    replace(file, "trace_loss", (count,), "f4", chunks=(2**16,), fletcher32=True)
    replace(file, "trace_params", (count, 3), "f4", chunks=(2**16, 3), fletcher32=True)


@of_runs("no fixed shape")
def huge_chunk(file: Any, _: Path) -> None:
    replace(file, "final_loss", (4,), "f4", chunks=(2**29,), maxshape=(None,), fletcher32=True)


@of_runs("chunks of shape")
def tiny_chunks(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=np.zeros(4, "f4"), chunks=(1,), fletcher32=True)


@of_runs("claim more")
def zeros_that_compress(file: Any, _: Path) -> None:
    """A million times 256 zeros are 300 kB; the floats of the same runs are never written."""
    count, options = 2**26, {"fletcher32": True, "chunks": (2**22,)}
    replace(file, "trace_loss", (count,), "f4", **options)
    replace(file, "trace_params", (count, 3), "f4", fletcher32=True, chunks=(2**20, 3))
    options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    steps = replace(file, "trace_step", (count,), "i4", **options)
    for start in range(0, count, 2**22):
        steps.id.write_direct_chunk((start,), _deflated(2**24))
    rewrite(file, "row_size", [count, 0, 0, 0])


@of_runs("other filters")
def floats_that_compress(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=np.zeros(4, "f4"), chunks=(4,), fletcher32=True, compression="gzip")


@of_runs("not as long as declared")
def chunk_that_inflates(file: Any, _: Path) -> None:
    """16 bytes by its shape, 512 MB by its content."""
    _packed(file, _deflated(2**29))


@of_runs("not as long as declared")
def chunk_that_is_short(file: Any, _: Path) -> None:
    _packed(file, _deflated(3))


@of_runs("not as long as declared")
def chunk_of_floats_that_is_short(file: Any, _: Path) -> None:
    """HDF5 gives what lies behind it in memory."""
    losses = replace(file, "final_loss", (4,), "f4", chunks=(4,), fletcher32=True)
    losses.id.write_direct_chunk((0,), bytes(4) + _fletcher32(bytes(4)))


@of_runs("not as long as declared")
def chunk_of_floats_that_is_not_there(file: Any, _: Path) -> None:
    replace(file, "final_loss", (4,), "f4", chunks=(4,), fletcher32=True)


@of_runs("not as long as declared")
def chunk_of_floats_without_checksum(file: Any, _: Path) -> None:
    losses = replace(file, "final_loss", (4,), "f4", chunks=(4,), fletcher32=True)
    losses.id.write_direct_chunk((0,), bytes(20), filter_mask=1)


@of_runs(None)
def stand_in_that_inflates(file: Any, _: Path) -> None:
    """It is never read."""
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    stand_in = replace(file, "obs", (2**40,), "f4", chunks=(2**29,), **options)
    data = _deflated(2**29)
    stand_in.id.write_direct_chunk((0,), data + _fletcher32(data))


@of_runs("not as long as declared")
def chunk_that_skips_its_filters(file: Any, _: Path) -> None:
    _packed(file, _deflated(16), mask=3)


@of_runs("cannot be read")
def chunk_that_is_not_compressed(file: Any, _: Path) -> None:
    _packed(file, bytes(16))


def _packed(file: Any, data: bytes, mask: int = 0) -> None:
    options = {"chunks": (4,), "fletcher32": True, "compression": "gzip", "compression_opts": 1, "shuffle": True}
    steps = replace(file, "steps", (4,), "i4", **options)
    steps.id.write_direct_chunk((0,), data + _fletcher32(data), filter_mask=mask)


def _fletcher32(data: bytes) -> bytes:
    """As HDF5 has it: of big-endian words."""
    words = np.frombuffer(data + bytes(len(data) % 2), ">u2").astype(np.int64)
    sums = (int(words.sum()), int(words.cumsum().sum()))
    low, high = ((total - 1) % 65535 + 1 if total else 0 for total in sums)
    return (high << 16 | low).to_bytes(4, "little")


@cache
def _deflated(size: int) -> bytes:
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(2**20, size - start))) for start in range(0, size, 2**20)]
    return b"".join(parts) + packer.flush()


@of_runs("is of type object")
def texts(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=["a"] * 4, dtype=h5py.string_dtype(), chunks=(4,))


@of_runs(NO_NUMBERS)
def ragged(file: Any, _: Path) -> None:
    arrays = replace(file, "final_loss", (4,), h5py.vlen_dtype(np.float32))
    arrays[0] = np.zeros(10**6, np.float32)


@of_runs(NO_NUMBERS)
def references(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=[file.ref] * 4, dtype=h5py.ref_dtype)


@of_runs(NO_NUMBERS)
def references_to_regions(file: Any, _: Path) -> None:
    region = file["seed"].regionref[:2]
    replace(file, "final_loss", data=[region] * 4, dtype=h5py.regionref_dtype)


@of_runs(NO_NUMBERS)
def compound(file: Any, _: Path) -> None:
    replace(file, "final_loss", (4,), [("a", "f4")])


@of_runs(NO_NUMBERS)
def compound_of_compounds(file: Any, _: Path) -> None:
    kind = h5py.h5t.IEEE_F32LE
    for _depth in range(300):
        outer = h5py.h5t.create(h5py.h5t.COMPOUND, 4)
        outer.insert(b"a", 0, kind)
        kind = outer
    del file["final_loss"]
    h5py.h5d.create(file.id, b"final_loss", kind, h5py.h5s.create_simple((4,)))


@of_runs(NO_NUMBERS)
def arrays_in_an_array(file: Any, _: Path) -> None:
    replace(file, "final_loss", (4,), np.dtype(("f4", (2**20,))))


@of_runs(NO_NUMBERS)
def enumeration(file: Any, _: Path) -> None:
    replace(file, "status", data=np.zeros(4, "i1"), dtype=h5py.enum_dtype({"a": 0, "b": 1}, "i1"))


@of_runs(NO_NUMBERS)
def truths(file: Any, _: Path) -> None:
    replace(file, "status", data=np.zeros(4, bool))


@of_runs(NO_NUMBERS)
def opaque(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=np.zeros(4, "V8"))


@of_runs("is of type")
def half_floats(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=np.zeros(4, "f2"), chunks=(4,), fletcher32=True)


@of_runs("is of type")
def gigabyte_of_characters(file: Any, _: Path) -> None:
    replace(file, "param", (3, 1), "S1000000000")


@of_runs("other filters")
def lzf(file: Any, _: Path) -> None:
    replace(file, "status", data=np.zeros(4, "i1"), chunks=(4,), compression="lzf")


@of_runs("other filters")
def scaleoffset(file: Any, _: Path) -> None:
    replace(file, "status", data=np.zeros(4, "i1"), chunks=(4,), scaleoffset=0)


@of_runs("other filters")
def unknown_filter(file: Any, _: Path) -> None:
    _filtered(file, [(32999, ())])


@of_runs("other filters")
def szip(file: Any, _: Path) -> None:
    _filtered(file, [(h5py.h5z.FILTER_SZIP, (141, 4))])


@of_runs("other filters")
def deflate_twice(file: Any, _: Path) -> None:
    shuffle, deflate, check = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32
    _filtered(file, [(shuffle, ()), (deflate, (1,)), (deflate, (1,)), (check, ())])


def _filtered(file: Any, filters: list[tuple[int, tuple[int, ...]]]) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((4,))
    for number, values in filters:
        created.set_filter(number, h5py.h5z.FLAG_OPTIONAL, values)
    del file["status"]
    h5py.h5d.create(file.id, b"status", h5py.h5t.STD_I8LE, h5py.h5s.create_simple((4,)), created)


@of_runs("number of dimensions")
def other_rank(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=np.zeros((4, 1), "f4"), chunks=(4, 1), fletcher32=True)


@of_runs("number of dimensions")
def no_dimensions(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=np.float32(0))


@of_runs("number of dimensions")
def no_space(file: Any, _: Path) -> None:
    replace(file, "final_loss", data=h5py.Empty("f4"))


@of_runs("does not fit")
def other_length(file: Any, _: Path) -> None:
    rewrite(file, "final_loss", np.zeros(5))


@of_runs("lacks seed")
def nothing_to_read(file: Any, _: Path) -> None:
    del file["seed"]


@of_runs("'payload' is unknown")
def payload(file: Any, _: Path) -> None:
    del file["initial_params"]
    file["payload"] = np.frombuffer(b"cos\nsystem\n(S'touch owned'\ntR.", np.uint8)


@of_runs("entries")
def many_groups(file: Any, _: Path) -> None:
    for number in range(100_000):
        h5py.h5g.create(file.id, b"%d" % number)


@of_runs(None)
def many_attributes(file: Any, _: Path) -> None:
    """As many as an object with ordered ones can have."""
    _attributes(file, 65_000)


@of_runs(None)
def many_attributes_of_an_array(file: Any, _: Path) -> None:
    rewrite(file, "final_loss", np.zeros(4))
    _attributes(file["final_loss"], 100_000)


def _attributes(target: Any, count: int) -> None:
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    for number in range(count):
        h5py.h5a.create(target.id, b"a%d" % number, h5py.h5t.STD_I8LE, space)


@of_runs(NO_NUMBERS)
def groups_in_groups(file: Any, _: Path) -> None:
    del file["final_loss"]
    group = file.create_group("final_loss").id
    for _depth in range(5000):
        group = h5py.h5g.create(group, b"g")


@of_runs("is unknown")
def link_that_is_not_text(file: Any, _: Path) -> None:
    del file["final_loss"]
    h5py.h5g.create(file.id, b"\xff\xfe\x1b]0;owned\x07")


@of_runs("is unknown")
def link_with_a_long_name(file: Any, _: Path) -> None:
    del file["final_loss"]
    h5py.h5g.create(file.id, b"x" * 60_000)


@of_runs("jaxor_schema is not one number")
def schema_of_many(file: Any, _: Path) -> None:
    attribute(file, "jaxor_schema", np.ones(10**6, np.int64))


@of_runs("jaxor_schema is not one number")
def schema_as_text(file: Any, _: Path) -> None:
    attribute(file, "jaxor_schema", "1")


@of_runs("cannot be read")
def schema_missing(file: Any, _: Path) -> None:
    del file.attrs["jaxor_schema"]


@of_runs("newer jaxor")
def schema_of_the_future(file: Any, _: Path) -> None:
    attribute(file, "jaxor_schema", np.int64(2**62))


@of_runs("identity is not one text")
def identity_as_a_number(file: Any, _: Path) -> None:
    """`bytes` of a number are so many zeros."""
    attribute(file, "identity", np.int64(2**36))


@of_runs("identity is not one text")
def identity_of_variable_length(file: Any, _: Path) -> None:
    attribute(file, "identity", "0" * 64, h5py.string_dtype())


@of_runs("cannot be read")
def identity_that_is_not_text(file: Any, _: Path) -> None:
    attribute(file, "identity", np.bytes_(b"\xff" * 64))


@of_runs("control characters")
def source_that_a_terminal_obeys(file: Any, _: Path) -> None:
    attribute(file, "source", np.bytes_(b"\x1b]0;owned\x07"))


@of_runs("cannot be read")
def platform_missing(file: Any, _: Path) -> None:
    del file.attrs["platform"]


@of_runs("names other parameters")
def other_names(file: Any, _: Path) -> None:
    rewrite(file, "param", np.full(file["param"].shape, b"x"))


@of_runs("does not fit")
def more_names(file: Any, _: Path) -> None:
    rewrite(file, "param", np.full((5, 3), b"x"))


@of_runs("names other parameters")
def long_names(file: Any, _: Path) -> None:
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    replace(file, "param", (3, 2**30), "S1", chunks=(3, 2**30), **options)


@of_runs("other numbers of recorded steps")
def records_fewer_than_none(file: Any, _: Path) -> None:
    sizes = file["row_size"][...]
    rewrite(file, "row_size", [sizes.sum() + 5, -5, 0, 0])


@of_runs("other numbers of recorded steps")
def records_more_than_there_are(file: Any, _: Path) -> None:
    rewrite(file, "row_size", [10**6, 0, 0, 0])


@of_runs("other numbers of recorded steps")
def records_that_overflow(file: Any, _: Path) -> None:
    """Their sum as int32 is right."""
    total = int(file["row_size"][...].sum())
    rewrite(file, "row_size", [2**31 - 1, 2**31 - 1, 2, total])


@of_runs("seeds are not between")
def seeds_descending(file: Any, _: Path) -> None:
    rewrite(file, "seed", [3, 2, 1, 0])


@of_runs("seeds are not between")
def seeds_twice(file: Any, _: Path) -> None:
    rewrite(file, "seed", [0, 1, 1, 3])


@of_runs("seeds are not between")
def seeds_negative(file: Any, _: Path) -> None:
    rewrite(file, "seed", [-(2**63), 1, 2, 3])


@of_runs("seeds are not between", seeds=((2**32 - 3, 2**32 + 1),))
def seeds_too_large(file: Any, _: Path) -> None:
    rewrite(file, "seed", np.arange(2**32 - 3, 2**32 + 1))


@of_runs("status that there is not")
def status_unknown(file: Any, _: Path) -> None:
    rewrite(file, "status", [0, 1, -1, 9])
