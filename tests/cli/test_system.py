"""`jaxor info --system`: what a report of a bug should say."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import h5py
import jax
import pytest

import jaxor
from jaxor.cli.system import EXTRAS, PACKAGES
from tests.cli.conftest import Call

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_as_json(call: Call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET", "not to be shown")
    result = call("info", "--system", "--json")
    assert result.exit_code == 0 and "not to be shown" not in result.stdout
    table = json.loads(result.stdout)
    assert table["jaxor"] == jaxor.__version__ and table["python"].startswith(f"{sys.version.split()[0]} (")
    assert table["packages"] == {name: version(name) for name in PACKAGES}
    assert table["hdf5"] == h5py.version.hdf5_version
    assert table["jax"]["backend"] == jax.default_backend() and table["jax"]["x64"] is False
    assert sum(table["jax"]["devices"].values()) == len(jax.devices())
    assert 1 <= table["cores"]["usable"] <= table["cores"]["all"] and table["memory_bytes"] > 2**28
    assert table["disk_free_bytes"] > 0
    assert table["environment"]["OMP_NUM_THREADS"] == "3"


def test_as_text(call: Call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules["jaxor.cli.system"].EXTRAS, "models", ("skops", "not-there"))
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    text = " ".join(call("info", "--system").stdout.split())
    for part in (
        f"jax {version('jax')}", f"h5py {h5py.__version__}", "[models] skops", "not-there is missing",
        "XLA_FLAGS --xla_force_host_platform_device_count=1", "GiB free in the current directory",
        f"backend {jax.default_backend()}",
    ):  # fmt: skip
        assert part in text


def test_what_cannot_be_imported_is_told(call: Call, monkeypatch: pytest.MonkeyPatch):
    """A report must be possible where JAX or HDF5 is what is broken."""
    for name in ("jax", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    result = call("info", "--system")
    assert result.exit_code == 0
    assert len(re.findall("ModuleNotFoundError: import of (jax|h5py) halted", " ".join(result.stdout.split()))) == 2


@pytest.mark.parametrize("arguments", [[], ["run", "--system"]])
def test_either_a_directory_or_the_system(call: Call, arguments: list[str]):
    result = call("info", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: give either a run directory, or --system for versions, machine and settings\n"


def test_packages_are_those_of_the_project():
    def names(requirements: list[str]) -> tuple[str, ...]:
        return tuple(re.split("[<>=]", requirement)[0] for requirement in requirements)

    extras = {extra: names(needed) for extra, needed in PROJECT["optional-dependencies"].items()}
    for extra in ("docs", "bench", "browser", "dev"):
        del extras[extra]
    assert names(PROJECT["dependencies"]) == PACKAGES
    assert extras == EXTRAS | {"cuda": ("jax[cuda13]",)}  # of which the plugin is the part that jax alone lacks


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such limit on this system")
def test_usable_cores(call: Call):
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert json.loads(call("info", "--system", "--json").stdout)["cores"]["usable"] == 1
    finally:
        os.sched_setaffinity(0, before)
