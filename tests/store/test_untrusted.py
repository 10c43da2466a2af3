"""Files from a stranger: refused before anything in them is read or followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from jaxor.store import shard
from jaxor.store.errors import StoreError
from tests.store.samples import block, manifest

SECRET = b"secret" * 20


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("final_loss", (4,), "f4", external=[(os.fspath(secret), 0, 16)])


def external_link(file: h5py.File, secret: Path) -> None:
    file["final_loss"] = h5py.ExternalLink(os.fspath(secret), "/x")


def soft_link(file: h5py.File, _: Path) -> None:
    file["final_loss"] = h5py.SoftLink("/epochs")


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(os.fspath(secret), "x", (4,))
    file.create_virtual_dataset("final_loss", layout)


def text(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", data=["a"] * 4, dtype=h5py.string_dtype())


def ragged(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", (4,), h5py.vlen_dtype(np.float32))


def references(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", (4,), h5py.ref_dtype)


def compound(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", (4,), [("a", "f4")])


def group(file: h5py.File, _: Path) -> None:
    file.create_group("final_loss")


def stranger(file: h5py.File, _: Path) -> None:
    file.create_dataset("payload", (4,), "f4")


def odd_filter(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", (4,), "f4", compression="lzf")


def huge(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", (2**40,), "f4", chunks=(2**20,))


def other_length(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", data=np.zeros(5, "f4"))


def other_rank(file: h5py.File, _: Path) -> None:
    file.create_dataset("final_loss", data=np.zeros((4, 1), "f4"))


def nothing(file: h5py.File, _: Path) -> None:
    del file["seed"]


@pytest.mark.parametrize(
    ("crime", "sentence"),
    [
        (external_storage, "other files"),
        (external_link, "link to elsewhere"),
        (soft_link, "link to elsewhere"),
        (virtual, "other files"),
        (text, "not an array of numbers"),
        (ragged, "not an array of numbers"),
        (references, "not an array of numbers"),
        (compound, "not an array of numbers"),
        (group, "not an array of numbers"),
        (stranger, "'payload' is unknown"),
        (odd_filter, "unknown filter"),
        (huge, "claims"),
        (other_length, "does not fit"),
        (other_rank, "cannot be read"),
        (nothing, "lacks seed, final_loss"),
    ],
)
def test_crafted_files_are_refused(tmp_path: Path, crime: Callable[[h5py.File, Path], None], sentence: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    path = tmp_path / "shard.h5"
    path.write_bytes(shard.encode(block(range(4)), manifest().param_names, manifest().attributes()))
    with h5py.File(path, "r+") as file:
        del file["final_loss"]
        crime(file, secret)
    before = secret.stat().st_atime_ns
    with pytest.raises(StoreError, match=sentence):
        shard.decode(path)
    assert secret.stat().st_atime_ns == before


def test_traces_shorter_than_claimed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    path.write_bytes(shard.encode(block(range(4)), manifest().param_names, manifest().attributes()))
    with h5py.File(path, "r+") as file:
        sizes = file["row_size"]
        assert isinstance(sizes, h5py.Dataset)
        sizes[0] = 1000
    with pytest.raises(StoreError, match="fewer recorded steps"):
        shard.decode(path)


@pytest.mark.parametrize("data", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_what_is_not_hdf5_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        shard.decode(data)
