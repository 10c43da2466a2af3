"""Clocks, time zones, languages and places that a run directory must not care about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import jaxor
from jaxor.cli import main
from jaxor.store.export import export_run

# All commands in one process, since starting one takes longer than what they do.
SCRIPT = """
import sys
from jaxor.cli import main
out = sys.argv[1]
for arguments in (
    ["simulate", "--out", out, "--seeds", "5"],
    ["simulate", "--out", out, "--seeds", "9", "--resume"],
    ["verify", out],
    ["export", out, "all.nc"],
):
    print(main(arguments, standalone_mode=False) or 0)
"""

# An hour back at every second look, as a clock that is set right and wrong again and again.
JUMPS = """
import itertools, time
now, jumps = time.time, itertools.cycle([0, -3600])
time.time = lambda: now() + next(jumps)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file() and path.name != "run.lock"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Manifest, shards and export as they are here and now."""
    folder = tmp_path_factory.mktemp("expected")
    for seeds in (5, 9):
        jaxor.simulate("abs1_convergence", seeds, out=folder / "run", devices=1, resume=True)
    export_run(folder / "run", folder / "all.nc")
    found = contents(folder)
    assert len(found) == 4  # manifest, two shards, export
    return found


def run(script: str, out: str, cwd: Path, **environment: str) -> None:
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "TZ", "PYTHONIO"))
    }
    done = subprocess.run(
        [sys.executable, "-c", script, os.fsencode(out)], cwd=cwd, env=known | environment, capture_output=True
    )
    codes = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.isdecimal()]
    assert (codes, done.stderr, done.returncode) == (["0"] * 4, b"", 0)


@pytest.mark.parametrize(
    ("out", "script", "environment"),
    [
        ("r" * 200, JUMPS + SCRIPT, {"TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8"}),
        ("ein Lauf \U0001f3b2/" + "ä" * 100, SCRIPT, {"LC_ALL": "C.UTF-8", "TZ": "America/St_Johns"}),
        ("ein Lauf \U0001f3b2/\udcff", SCRIPT, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
    ids=["clock-long", "utf-8", "ascii"],
)
def test_equal_bytes_everywhere(
    tmp_path: Path, expected: dict[str, bytes], out: str, script: str, environment: dict[str, str]
) -> None:
    run(script, out, tmp_path, **environment)
    assert contents(tmp_path) == expected
    assert (tmp_path / out / "manifest.json").exists()


def test_through_a_link_and_from_another_place(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun through a link, gone on with from elsewhere by a relative path; the link stays one."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("disk", target_is_directory=True)

    def call(*arguments: str) -> None:
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.stderr) == (0, "")

    first, second = str(tmp_path / "link"), "../link"
    call("simulate", "--out", first, "--seeds", "5")
    call("info", first)
    monkeypatch.chdir(tmp_path / "elsewhere")
    call("simulate", "--out", second, "--seeds", "9", "--resume")
    call("verify", second)
    call("export", second, "all.nc")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "manifest.json").exists()
    assert contents(tmp_path / "disk") | contents(tmp_path / "elsewhere") == expected
    assert json.loads(expected["manifest.json"])["seeds"] == [[0, 9]]


def test_dates_of_files_say_nothing(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """From a disk without a clock, or copied: some files from 1970, others from the future."""
    for k, seeds in enumerate((5, 9, 9)):
        jaxor.simulate("abs1_convergence", seeds, out=tmp_path / "run", devices=1, resume=True)
        for path in tmp_path.rglob("*"):
            os.utime(path, (k * 2e9, k * 2e9))
    export_run(tmp_path / "run", tmp_path / "all.nc")
    assert contents(tmp_path) == expected
