"""Run directories as a stranger could make them: every name, hash and identity in them is right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jaxor.engine.seeds import Ranges
from jaxor.engine.tally import Tally
from jaxor.store import shard
from jaxor.store.manifest import Manifest
from tests.store.samples import block, manifest

SEEDS = ((0, 4),)
SECRET = b"secret " * 50


@dataclass(frozen=True)
class Case:
    """A crafted directory: how it is made, given where and the secret file, and what is said of it, if anything."""

    make: Callable[[Path, Path], None]
    sentence: str | None


CASES: dict[str, Case] = {}

Crime = Callable[[Any, Path], None]


def directory(sentence: str | None) -> Callable[[Crime], Crime]:
    """Register what makes a whole directory."""

    def register(make: Crime) -> Crime:
        CASES[make.__name__] = Case(make, sentence)
        return make

    return register


def of_runs(sentence: str | None, seeds: Ranges = SEEDS) -> Callable[[Crime], Crime]:
    """Register what is done to the HDF5 file of a shard of four runs."""

    def register(crime: Crime) -> Crime:
        def make(run: Path, secret: Path) -> None:
            save(run, edited(honest_bytes(), crime, secret), manifest(range(4)), seeds)

        CASES[crime.__name__] = Case(make, sentence)
        return crime

    return register


def of_bytes(sentence: str | None) -> Callable[[Callable[[bytes], bytes]], Callable[[bytes], bytes]]:
    """Register what is done to the bytes of a shard of four runs."""

    def register(crime: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def make(run: Path, _: Path) -> None:
            save(run, crime(honest_bytes()), manifest(range(4)))

        CASES[crime.__name__] = Case(make, sentence)
        return crime

    return register


def of_counts(sentence: str | None) -> Callable[[Crime], Crime]:
    """Register what is done to the HDF5 file of a shard that counts four runs."""

    def register(crime: Crime) -> Crime:
        def make(run: Path, secret: Path) -> None:
            path = honest_counts(run)
            data = edited(path.read_bytes(), crime, secret)
            path.unlink()
            path.with_name(shard.shard_name(SEEDS, data)).write_bytes(data)

        CASES[crime.__name__] = Case(make, sentence)
        return crime

    return register


def edited(data: bytes, crime: Crime, secret: Path) -> bytes:
    target = BytesIO(data)
    with h5py.File(target, "r+", libver=("v110", "v110")) as file:
        crime(file, secret)
    return target.getvalue() + bytes(2**16)  # what HDF5 has set aside and not written is not there in memory


def save(run: Path, data: bytes, like: Manifest, seeds: Ranges = SEEDS) -> Path:
    """Make a run directory of these bytes, with the name that belongs to them."""
    (run / "shards").mkdir(parents=True)
    (run / "manifest.json").write_text(like.to_json())
    path = run / "shards" / shard.shard_name(seeds, data)
    path.write_bytes(data)
    return path


def honest_bytes() -> bytes:
    """A sound shard of four runs."""
    return shard.encode(block(range(4)), manifest().param_names, manifest().attributes())


def honest(run: Path) -> Path:
    """Make a sound run directory; gives its shard."""
    return save(run, honest_bytes(), manifest(range(4)))


def honest_counts(run: Path) -> Path:
    """Make a sound run directory of statistics; gives its shard."""
    like = manifest(range(4), kind="statistics")
    return save(run, shard.seal(Tally.of(block(range(4))), like), like)


def replace(file: Any, name: str, shape: Any = None, dtype: Any = None, **options: Any) -> Any:
    """Put another dataset in the place of one."""
    del file[name]
    return file.create_dataset(name, shape, dtype, **options)


def rewrite(file: Any, name: str, values: Any) -> None:
    """Put other values in the place of an array, laid out as jaxor does it."""
    values = np.asarray(values, file[name].dtype)
    packed = {} if values.dtype.kind == "f" else {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    replace(file, name, data=values, chunks=values.shape, fletcher32=True, **packed)


def attribute(file: Any, name: str, value: Any, dtype: Any = None) -> None:
    """Put another attribute in the place of one."""
    del file.attrs[name]
    file.attrs.create(name, value, dtype=dtype)


def claiming(run: Path, **changes: Any) -> None:
    """Make an honest directory whose manifest says something else, with the identity that belongs to it."""
    honest(run)
    path = run / "manifest.json"
    values = json.loads(path.read_text()) | changes
    fixed = {name: values[name] for name in ("experiment", "lane_width", "x64", "prng", "initial_params_hash")}
    text = json.dumps(fixed, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(values | {"identity": hashlib.sha256(text.encode()).hexdigest()}))
