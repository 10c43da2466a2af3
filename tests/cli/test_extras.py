"""Commands that need an extra which is not installed say so before they do anything."""

from __future__ import annotations

import sys

import pytest

from tests.cli.conftest import Call


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "run", "--models", "law"],
        ["diagnose", "run"],
        ["geometry", "run"],
        ["sampling", "relu1_normal"],
        ["early-stage", "descent"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_plots_without_matplotlib(call: Call, tmp_path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]):
    assert call("simulate", "--seeds", 5, "--out", "run").exit_code == 0
    before = sorted(tmp_path.rglob("*"))
    for name in ("matplotlib", "matplotlib.style"):
        monkeypatch.setitem(sys.modules, name, None)
    result = call(*arguments, "--plots")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: plots need matplotlib; install it with: pip install 'jaxor[plot]'\n"
    assert sorted(tmp_path.rglob("*")) == before
