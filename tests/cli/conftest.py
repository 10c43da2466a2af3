"""Ways to call the command line, always in an empty directory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jaxor.cli import main

Call = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="jaxor")


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """Start a command in a process of its own, as the leader of a group; `first` is Python to run before."""

    def start(*arguments: object, first: str = "", **options: Any) -> subprocess.Popen[str]:
        code = f"{first}\nfrom jaxor.cli import main\nmain(prog_name='jaxor')"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **(pipes | options))

    return start
