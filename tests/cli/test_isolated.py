"""`--isolated`: the same output, less memory and time, and a sentence if the process dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Call, Process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no limits on Windows")

Sabotage = Callable[[str], None]


@pytest.fixture
def run(call: Call) -> Call:
    """A simulation to look at."""
    assert call("simulate", "relu1_normal", "--seeds", 30, "--out", "a").exit_code == 0
    return call


@pytest.fixture
def sabotage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    """Have the isolated process do something else, in Python, where it would verify."""

    def as_interpreter(body: str) -> None:
        program = tmp_path / "python"
        program.write_text(
            f"#!{sys.executable}\nimport sys\nimport jaxor.store.verify\n\ndef verify_run(path):\n    {body}\n\n"
            "jaxor.store.verify.verify_run = verify_run\n"
            "at = sys.argv.index('-c')\ncode = sys.argv[at + 1]\nsys.argv[1 : at + 2] = []\nexec(code)\n"
        )
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return as_interpreter


def test_isolated(run: Call, process: Process) -> None:
    plain = run("verify", "a").stdout
    command = process("verify", "a", "--isolated")
    assert (command.communicate()[0], command.returncode) == (plain, 0)
    command = process("info", "--isolated", "a", "--json")
    assert (command.communicate()[0], command.returncode) == (run("info", "a", "--json").stdout, 0)
    command = process("export", "--isolated", "a", "a.nc")
    assert command.communicate()[0].startswith("a.nc: ") and command.returncode == 0 and Path("a.nc").exists()
    (shard,) = Path("a/shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1])
    command = process("verify", "--isolated", "a")
    assert "a has 1 problem." in command.communicate()[0] and command.returncode == 1


def test_the_limits_are_set() -> None:
    """As the command line sees them in the isolated process."""
    code = (
        "import resource, runpy, sys\nimport jaxor.cli\n"
        "jaxor.cli.main = lambda **_: print(*(resource.getrlimit(k)[0] for k in (resource.RLIMIT_AS, "
        "resource.RLIMIT_CPU, resource.RLIMIT_CORE)))\nfrom jaxor.cli.isolated import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(4 * 2**30), "3600", "0"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("import ctypes; ctypes.string_at(0)", "ended by SIG"),  # SEGV, or BUS on macOS
        ("import os; os.abort()", "ended by SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
        ("import resource as r; r.setrlimit(r.RLIMIT_CPU, (1, 9))\n    while True: pass", "ended by SIGXCPU"),
        ("bytearray(8 * 2**30)", "not enough memory"),
    ],
)
def test_a_process_that_dies_is_one_sentence(
    run: Call, sabotage: Sabotage, capfd: pytest.CaptureFixture[str], body: str, sentence: str
) -> None:
    sabotage(body)
    result = run("verify", "a", "--isolated")
    said = result.stderr + capfd.readouterr().err
    assert result.exit_code == 1 and result.stdout == ""
    assert said.startswith("Error: ") and sentence in said and said.count("\n") == 1
