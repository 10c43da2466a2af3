"""What comes before any command: speed, help, and how errors are shown."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

import jaxor
from jaxor.cli import COMMANDS, main
from tests.cli.conftest import Call, Process

SLOW = ["jax", "numpy", "scipy", "sklearn", "h5py", "optax", "pyarrow"]


def modules(*arguments: str) -> set[str]:
    """Which of the slow packages a command imports."""
    code = f"""
import sys
from jaxor.cli import main
main({list(arguments)}, standalone_mode=False)
print(*[name for name in {[*SLOW, "scipy.stats"]} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_slow(arguments: list[str]):
    assert not modules(*arguments)


def test_simulate_imports_neither_scikit_learn_nor_scipy_stats(tmp_path):
    assert not modules("simulate", "--seeds", "2", "--out", str(tmp_path / "run")) & {"sklearn", "scipy.stats"}


def test_info_and_export_do_not_import_jax(call: Call, tmp_path):
    assert call("simulate", "--seeds", 2, "--out", "run").exit_code == 0
    assert "jax" not in modules("info", str(tmp_path / "run"))
    assert not modules("export", str(tmp_path / "run"), str(tmp_path / "run.nc")) & {"jax", "pyarrow"}
    assert "jax" not in modules("export", str(tmp_path / "run"), str(tmp_path / "run.parquet"))


def test_importing_jaxor_does_not_import_jax():
    code = "import jaxor, jaxor.cli, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_is_fast():
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "jaxor", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_help_lists_every_command_with_its_whole_first_sentence():
    text = CliRunner().invoke(main, ["--help"]).output
    listed = text[text.index("Commands:") :].splitlines()[1:]
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_version_and_module(tmp_path):
    done = subprocess.run([sys.executable, "-m", "jaxor", "--version"], capture_output=True, text=True, check=True)
    assert jaxor.__version__ in done.stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["simulate", "--nonsense"], ["simulate"], ["info"], ["export", "a"]]
)
def test_misuse_is_one_sentence(call: Call, arguments: list[str]):
    result = call(*arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


def test_unexpected_errors_are_a_sentence_too(call: Call, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("jaxor.report.tables.experiments_table", broken)
    result = call("experiments")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: unexpected KeyError: 'surprise'; jaxor --debug shows where\n"
    result = call("--debug", "experiments")
    assert result.exit_code == 1 and "Traceback" in result.stderr


def test_a_closed_pipe_is_silent(process: Process):
    command = process("experiments")
    assert command.stdout and command.stderr
    command.stdout.close()
    assert command.stderr.read() == ""
    command.stderr.close()
    command.wait()
