"""``python -m tests.wheel``: the wheel as users get it, with the oldest and with the newest packages that it allows.

Builds dist/, looks at what is in it, and installs it twice, outside of the checkout: on the oldest Python found here
with the lowest versions that pyproject.toml allows, and on the newest with the newest there are. Both have to do every
kind of work, say which extra is missing where one is, read what the other wrote, and pass the tests that need no other
packages than pytest, hypothesis and the extra xarray. Prints a table. Needs only Python, and an index of packages.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

PYTHONS = tuple(f"python3.{minor}" for minor in range(11, 15))
"""From old to new."""

SHOWN = "jax", "numpy", "scipy", "scikit-learn", "h5py", "optax", "click", "tqdm", "filelock"

TESTS = (
    "tests/engine/test_oracles.py",  # the original's 750 runs
    "tests/engine/test_closed_forms.py",
    "tests/engine/test_determinism.py",  # the same bits in any batch
    "tests/engine/test_keys.py",
    "tests/experiments/test_experiment.py",
    "tests/experiments/test_load.py",
    "tests/store/test_formats.py",  # directories written by earlier versions
    "tests/store/test_directory.py",
    "tests/store/test_manifest.py",
    "tests/store/test_merge.py",
    "tests/store/test_run.py",
    "tests/store/test_shard.py",
    "tests/store/test_verify.py",
    "tests/cli/test_start.py",
    "tests/cli/test_surroundings.py",
    "tests/test_estimates.py",
)
"""What jaxor promises of every run, its files and its command line."""

WITHOUT = {
    "parquet": ("export run run.parquet",),
    "cluster": ("simulate --seeds 10 --cluster local:1 --out never",),
    "plot": (
        "fit run --plots",
        "diagnose run --plots",
        "report run",
        "geometry run --plots",
        "sampling relu1_normal --plots",
        "early-stage descent --plots",
    ),
}
"""Commands that need an extra."""


class Failed(Exception):
    """Something is not as it should be."""


@dataclass
class End:
    """One of the two ends.

    Attributes
    ----------
    name : str
    python : str
        What creates the environment.
    resolution : str
        Of uv: which versions it prefers.
    home : Path
        Outside of the checkout; has the environment and, in ``work``, all that is written.
    cells : dict
        What is told of it.
    """

    name: str
    python: str
    resolution: str
    home: Path
    cells: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Where commands run."""
        return self.home / "work"

    def program(self, name: str) -> str:
        """One of those in the environment."""
        return str(self.home / "environment" / "bin" / name)

    def jaxor(self, arguments: str, code: int = 0) -> str:
        """What a command prints, or the sentence with which it fails as it should."""
        done = run([self.program("jaxor"), *arguments.split()], self.work, code)
        if code and (done.stdout or not done.stderr.startswith("Error: ") or done.stderr.count("\n") != 1):
            raise Failed(
                f"jaxor {arguments} with {self.name} fails in another way than with a sentence:\n{done.stderr}"
            )
        return done.stderr if code else done.stdout


def run(command: Sequence[str], folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command, without what could lead it into the checkout; it must end with a certain exit code."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["CI"] = "true"  # for hypothesis: the same examples each time
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done


def pythons() -> list[str]:
    """Those that are here and can create environments, from old to new."""
    found = [path for name in PYTHONS if (path := shutil.which(name))]
    command = "import ensurepip, venv"
    able = [path for path in found if not subprocess.run([path, "-c", command], capture_output=True).returncode]
    return able or [sys.executable]


def build(uv: str) -> Path:
    """The wheel, made from the source distribution, which is made from the checkout; both are looked at."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run([uv, "build", "--quiet", "--out-dir", str(dist)], ROOT)
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    run([uv, "tool", "run", "twine", "check", "--strict", str(wheel), str(source)], ROOT)

    tracked = set(run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "jaxor"], ROOT).stdout.split())
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
    with tarfile.open(source) as file:
        sources = {name.partition("/")[2] for name in file.getnames()}
    texts = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "PKG-INFO", "pyproject.toml", ".gitignore"}
    for name, inside, wanted in (("wheel", packed, tracked), ("source distribution", sources, tracked | texts)):
        if inside != wanted:
            raise Failed(f"the {name} has not what it should: {sorted(inside ^ wanted)}")
    print(f"{wheel.name}: {len(packed)} files, {wheel.stat().st_size:,} bytes")
    print(f"{source.name}: {len(sources)} files, {source.stat().st_size:,} bytes")
    return wheel


def install(end: End, uv: str, wheel: Path) -> End:
    """An environment with the wheel and what it needs, no extras."""
    end.work.mkdir(parents=True)
    python, versions = end.program("python"), end.home / "versions.txt"
    run([uv, "venv", "--quiet", "--python", end.python, str(end.home / "environment")], ROOT)
    resolve = ["pip", "compile", "--quiet", "--resolution", end.resolution, "--python", python]
    run([uv, *resolve, "--output-file", str(versions), "pyproject.toml"], ROOT)
    run([uv, "pip", "install", "--quiet", "--python", python, "--constraint", str(versions), str(wheel)], end.work)
    return end


def use(end: End) -> None:
    """Every kind of work, and what is said where an extra is missing."""
    found = json.loads(end.jaxor("info --system --json"))
    end.cells |= {"Python": found["python"]} | {name: found["packages"][name] for name in SHOWN}
    end.cells["HDF5"] = found["hdf5"]
    if end.jaxor("--version") != f"jaxor, version {found['jaxor']}\n":
        raise Failed("jaxor --version and the wheel differ")
    if "simulate" not in run([end.program("python"), "-m", "jaxor"], end.work, 2).stderr:
        raise Failed("python -m jaxor does not list commands")

    simulated = json.loads(end.jaxor("simulate --seeds 1000 --out run --json"))
    if simulated["status"]["converged"] != 1000:
        raise Failed(f"not all runs converged: {simulated['status']}")
    end.jaxor("simulate relu1_normal --seeds 10000 --keep statistics --out counts")
    for command in (
        "info run", "info counts", "verify run", "verify counts", "export run run.nc", "export run run.csv",
        "fit run --models law", "predict run", "diagnose run", "replay run --seed 7",
        "geometry digits_mlp --seeds 2 --set max_epochs=2", "experiments", "reproduce --help",
    ):  # fmt: skip
        end.jaxor(command)
    for extra, commands in WITHOUT.items():
        for command in commands:
            if f"pip install 'jaxor[{extra}]'" not in (said := end.jaxor(command, 1)):
                raise Failed(f"jaxor {command} with {end.name} does not say that it needs the extra {extra}: {said}")
    code = "import jaxor; jaxor.open_run('run').to_xarray()"
    if "pip install 'jaxor[xarray]'" not in run([end.program("python"), "-c", code], end.work, 1).stderr:
        raise Failed("to_xarray does not say that it needs the extra xarray")


def read_others(reader: End, writer: End) -> None:
    """What one end wrote is the same to the other, which goes on with it only when told to."""
    for name in ("run", "counts"):
        theirs = f"{writer.work / name}"
        for command in ("verify", "info"):
            mine, own = reader.jaxor(f"{command} {theirs} --json"), writer.jaxor(f"{command} {theirs} --json")
            if mine != own:
                raise Failed(f"{command} of what {writer.name} wrote differs with {reader.name}:\n{mine}{own}")
    reader.jaxor(f"export {writer.work / 'run'} {writer.name}.csv")
    if (reader.work / f"{writer.name}.csv").read_bytes() != (writer.work / "run.csv").read_bytes():
        raise Failed(f"exports of what {writer.name} wrote differ")
    shutil.copytree(writer.work / "run", reader.work / "theirs")
    more = "simulate --seeds 1010 --out theirs --resume"
    if "--allow-mixed" not in (said := reader.jaxor(more, 1)):
        raise Failed(f"{reader.name} goes on with what {writer.name} began: {said}")
    reader.jaxor(f"{more} --allow-mixed")
    verified = json.loads(reader.jaxor("verify theirs --json"))
    if not verified["ok"] or verified["seeds"] != 1010 or len(verified["made_by"]) != 2:
        raise Failed(f"mixed runs are not sound: {verified}")


def compare(one: End, other: End) -> str:
    """How alike the runs of both are; the identity must be one."""
    first, second = (json.loads(end.jaxor("info run --json")) for end in (one, other))
    if first["identity"] != second["identity"]:
        raise Failed(f"identities differ: {first['identity']}, {second['identity']}")
    tables: list[list[dict[str, Any]]] = []
    for end in (one, other):
        with (end.work / "run.csv").open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    pairs = list(zip(*tables, strict=True))
    starts = [name for name in tables[0][0] if name.startswith("initial_")]
    same = {
        "first parameters": sum(all(a[name] == b[name] for name in starts) for a, b in pairs),
        "status and epochs": sum(all(a[name] == b[name] for name in ("status", "epochs")) for a, b in pairs),
        "all but traces, to the last bit,": sum(a == b for a, b in pairs),
    }
    return f"of {len(pairs):,} runs the same: " + ", ".join(f"{name} {number:,}" for name, number in same.items())


def run_tests(end: End, uv: str) -> None:
    """The tests, on a copy beside which there is no jaxor but the wheel's."""
    folder = end.home / "tests"
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    packages = ["pytest", "hypothesis", "xarray", "h5netcdf", "--constraint", str(end.home / "versions.txt")]
    run([uv, "pip", "install", "--quiet", "--python", end.program("python"), *packages], folder)
    command = [end.program("python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *TESTS]
    said = run(command, folder).stdout
    end.cells["tests"] = said.rstrip().splitlines()[-1].strip("= ")


def main() -> None:
    """All of it; exits with a sentence if something is not as it should be."""
    started, found = time.monotonic(), pythons()
    with tempfile.TemporaryDirectory(prefix="jaxor-wheel-") as name:
        folder = Path(name)
        lowest = End("lowest", found[0], "lowest-direct", folder / "lowest")
        newest = End("newest", found[-1], "highest", folder / "newest")
        try:
            run([sys.executable, "-m", "venv", "tools"], folder)
            uv = f"{folder}/tools/bin/uv"
            run([f"{folder}/tools/bin/python", "-m", "pip", "install", "--quiet", "uv"], folder)
            wheel = build(uv)
            with ThreadPoolExecutor() as both:
                list(both.map(lambda end: use(install(end, uv, wheel)), (lowest, newest)))
                for reader, writer in permutations((lowest, newest)):
                    read_others(reader, writer)
                print(compare(lowest, newest))
                list(both.map(lambda end: run_tests(end, uv), (lowest, newest)))
        except Failed as error:
            sys.exit(f"Error: {error}")
    for row, cell in lowest.cells.items():
        print(f"{row:<12}  {cell:<36}  {newest.cells[row]}")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
