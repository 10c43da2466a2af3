"""Crafted manifests, and files that are not what their names say."""

from __future__ import annotations

import os
import pickle
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from jaxor.store import shard
from jaxor.store.schema import block_of
from tests.store.samples import manifest
from tests.store.untrusted.crafting import SECRET, SEEDS, claiming, directory, honest, of_bytes, save

EXPERIMENT = manifest().experiment


@of_bytes("cannot be read")
def truncated(data: bytes) -> bytes:
    return data[:-100]


@of_bytes("cannot be read")
def empty(_: bytes) -> bytes:
    return b""


@of_bytes("cannot be read")
def signature_alone(_: bytes) -> bytes:
    return b"\x89HDF\r\n\x1a\n" + bytes(5000)


@of_bytes("cannot be read")
def pickled(_: bytes) -> bytes:
    return pickle.dumps(print)


@of_bytes(None)
def behind_other_bytes(data: bytes) -> bytes:
    """HDF5's user block: 512 bytes of anything."""
    return b"#!/bin/sh\n".ljust(512) + data


@directory("share their bytes")
def one_array_by_two_names(run: Path, _: Path) -> None:
    like = manifest(range(1000), traces="none", param_names=tuple("abcdefghijklmnopqrst"))
    sizes = {"seed": 1000, "param": 20}
    shapes = {name: [sizes[dim] for dim in variable.dims] for name, variable in like.variables.items()}
    numbers = {name: np.zeros(shape, like.variables[name].type(like.floats)) for name, shape in shapes.items()}
    numbers["seed"] += np.arange(1000)
    data, crafted = BytesIO(shard.seal(block_of(numbers), like)), BytesIO()
    with h5py.File(data) as file, h5py.File(crafted, "w", libver="latest") as copy:
        for name, value in file.attrs.items():
            copy.attrs[name] = value
        for name in file.keys() - {"final_params"}:
            file.copy(name, copy, without_attrs=True)
        copy["final_params"] = copy["initial_params"]
    save(run, crafted.getvalue(), like, like.seeds)


def in_place_of_the_shard(run: Path) -> Path:
    """Make an honest directory without its shard; gives where it was."""
    path = honest(run)
    path.unlink()
    return path


@directory("not a file")
def shard_is_a_pipe(run: Path, _: Path) -> None:
    os.mkfifo(in_place_of_the_shard(run))


@directory("not a file")
def shard_is_a_directory(run: Path, _: Path) -> None:
    in_place_of_the_shard(run).mkdir()


@directory("not a file")
def shard_is_a_device(run: Path, _: Path) -> None:
    in_place_of_the_shard(run).symlink_to("/dev/zero")


@directory("is a link")
def shard_is_a_link(run: Path, secret: Path) -> None:
    """Whoever knows what the secret is knows its hash."""
    name = shard.shard_name(SEEDS, SECRET)
    in_place_of_the_shard(run).with_name(name).symlink_to(secret)


@directory("is a link")
def shards_are_a_link(run: Path, secret: Path) -> None:
    in_place_of_the_shard(run).parent.rmdir()
    (run / "shards").symlink_to(secret.parent)


@directory(r"x1b\]0;owned.*is not a shard")
def name_that_a_terminal_obeys(run: Path, _: Path) -> None:
    in_place_of_the_shard(run).with_name("\x1b]0;owned\x07.h5").touch()


@directory("udcff.*is not a shard")
def name_that_is_not_text(run: Path, _: Path) -> None:
    folder = os.fsencode(in_place_of_the_shard(run).parent)
    with open(folder + b"/\xff.h5", "wb"):
        pass


@directory(None)
def lock_and_writer_lead_elsewhere(run: Path, secret: Path) -> None:
    honest(run)
    os.mkfifo(run / "run.lock")
    (run / "writer").symlink_to(secret)


@directory("not itself a file")
def manifest_is_a_pipe(run: Path, _: Path) -> None:
    honest(run)
    (run / "manifest.json").unlink()
    os.mkfifo(run / "manifest.json")


@directory("not itself a file")
def manifest_is_a_link(run: Path, secret: Path) -> None:
    honest(run)
    (run / "manifest.json").unlink()
    (run / "manifest.json").symlink_to(secret)


@directory("not itself a file of at most 100 MB")
def manifest_of_200_megabytes(run: Path, _: Path) -> None:
    honest(run)
    os.truncate(run / "manifest.json", 200_000_000)


@directory("is not JSON")
def manifest_of_brackets(run: Path, _: Path) -> None:
    honest(run)
    (run / "manifest.json").write_text("[" * 10**6)


@directory("is not JSON")
def manifest_is_pickled(run: Path, _: Path) -> None:
    honest(run)
    (run / "manifest.json").write_bytes(pickle.dumps(print))


@directory("is not JSON")
def manifest_with_a_long_number(run: Path, _: Path) -> None:
    honest(run)
    (run / "manifest.json").write_text('{"schema": ' + "9" * 10**6 + "}")


@directory("newer jaxor")
def manifest_of_the_future(run: Path, _: Path) -> None:
    claiming(run, schema=10**4000)


@directory("nested more than")
def manifest_nested_deeply(run: Path, _: Path) -> None:
    value: list[object] = []
    for _depth in range(500):
        value = [value]
    claiming(run, experiment=EXPERIMENT | {"task": value})


@directory("has seeds = ")
def manifest_with_nested_seeds(run: Path, _: Path) -> None:
    value: list[object] = []
    for _depth in range(500):
        value = [value]
    claiming(run, seeds=value)


@directory("has seeds = ")
def manifest_with_many_wrong_seeds(run: Path, _: Path) -> None:
    claiming(run, seeds=["x" * 100] * 10**5)


@directory("has seeds = ")
def manifest_with_large_seeds(run: Path, _: Path) -> None:
    claiming(run, seeds=[[0, 10**4000]])


@directory("control characters")
def manifest_that_a_terminal_obeys(run: Path, _: Path) -> None:
    claiming(run, platform={"machine": "\x1b]0;owned\x07"})


@directory("control characters")
def manifest_with_half_a_character(run: Path, _: Path) -> None:
    claiming(run, layout="\ud800")


@directory("has lane_width = ")
def manifest_with_a_wide_step(run: Path, _: Path) -> None:
    claiming(run, lane_width=10**18)


@directory("has param_names = ")
def manifest_with_one_long_name(run: Path, _: Path) -> None:
    """As a table of characters these are 10^12."""
    claiming(run, param_names=["x" * 10**6, *("y" for _ in range(10**6))])


@directory("has traces = ")
def manifest_with_odd_traces(run: Path, _: Path) -> None:
    claiming(run, traces="every=0")


@directory("has parameters = ")
def manifest_with_odd_parameters(run: Path, _: Path) -> None:
    claiming(run, parameters=["both"])


@directory("has experiment = ")
def manifest_with_an_odd_cap(run: Path, _: Path) -> None:
    claiming(run, experiment=EXPERIMENT | {"max_epochs": "7"})


@directory("has experiment = ")
def manifest_with_odd_rules(run: Path, _: Path) -> None:
    claiming(run, experiment=EXPERIMENT | {"stop": ["loss"]})


@directory("belongs to another simulation")
def manifest_that_names_code(run: Path, secret: Path) -> None:
    python = {"name": "os:system", "python": "os:system"}
    claiming(run, experiment=EXPERIMENT | {"model": python, "source": {"file": str(secret), "sha256": "0" * 64}})
