"""What shells complete, and how soon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

import jaxor
from jaxor.analysis.path_study import list_studies
from jaxor.cli import COMMANDS, completion, main
from jaxor.reproduction.run import DOCUMENTS
from tests.cli.test_start import SLOW


def completed(*arguments: str) -> list[str]:
    """What click offers for the last argument, and the kind of what the shell itself is to find."""
    items = ShellComplete(main, {}, "jaxor", "_JAXOR_COMPLETE").get_completions(list(arguments[:-1]), arguments[-1])
    return [item.value if item.type == "plain" else item.type for item in items]


def test_names_are_those_of_what_there_is():
    assert list(completion.EXPERIMENTS) == jaxor.list_experiments()
    tables = {table.name for tables in DOCUMENTS.values() for table in tables}
    assert sorted(completion.DOCUMENTS) == sorted(tables | set(DOCUMENTS))
    assert completed("geometry", "--study", "") == list_studies()


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        (["simulate", "shapes"], ["shapes_plain", "shapes_skip"]),
        (["simulate", "--quiet", "relu2_f"], ["relu2_four_mse_norm"]),
        (["simulate", "mine"], ["file"]),
        (["simulate", "--keep", ""], ["runs", "statistics"]),
        (["simulate", "--out", ""], ["dir"]),
        (["simulate", "--all"], ["--allow-mixed"]),
        (["experiments", "shapes_s"], ["shapes_skip"]),
        (["sampling", "saddle"], ["saddle_point"]),
        (["geometry", "saddle"], ["saddle_point"]),
        (["geometry", ""], ["dir"]),
        (["geometry", "outputs/"], ["dir"]),
        (["geometry", "--study", "b"], ["batch_size"]),
        (["geometry", "--study", "./"], ["file"]),
        (["early-stage", "d"], ["descent", "data"]),
        (["reproduce", "convergence", "sampling-"], ["sampling-one-layer", "sampling-two-layers"]),
        (["merge", "a", "b", ""], ["dir"]),
        *(
            ([name, ""], ["dir"])
            for name in ("info", "verify", "export", "fit", "predict", "diagnose", "replay", "report")
        ),
    ],
    ids=" ".join,
)
def test_completed(arguments: list[str], offered: list[str]):
    assert completed(*arguments) == offered


def test_commands_are_completed():
    assert completed("") == list(COMMANDS)
    assert completed("re") == [name for name in COMMANDS if name.startswith("re")]


BASH = """
eval "$(_JAXOR_COMPLETE=bash_source jaxor)"
for COMP_WORDS in "jaxor sim" "jaxor experiments shapes"; do
    COMP_WORDS=($COMP_WORDS)
    COMPREPLY=()
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _jaxor_completion jaxor
    echo "${COMPREPLY[@]}"
done
complete -p jaxor
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash(tmp_path: Path):
    """By the script that the documentation has people install; what it runs imports nothing slow."""
    script = tmp_path / "jaxor"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom jaxor.cli import main\ntry:\n    main(prog_name='jaxor')\nfinally:\n"
        f"    print(*(sys.modules.keys() & {SLOW}), file=sys.stderr)\n"
    )
    script.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(["bash", "--norc", "-c", BASH], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "simulate",
        "shapes_plain shapes_skip",
        "complete -o nosort -F _jaxor_completion jaxor",
    ]
    assert not done.stderr.strip()
