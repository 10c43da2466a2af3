"""Whatever is typed after `jaxor`: an exit code that means something, one sentence, and no traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxor import simulation
from jaxor.cli import main
from jaxor.engine.seeds import expand
from jaxor.engine.tally import Tally
from jaxor.store.manifest import Manifest
from jaxor.store.shard import seal
from jaxor.work import Where
from jaxor.workers import Answer, Task
from tests.examples import examples
from tests.store.samples import block

TOML = """
name = "mine"
task = "xor"
model = "abs1"
optimizer = {name = "sgd", learning_rate = 0.1}
max_epochs = 10
"""


def instant(task: Task, experiment: object = None) -> Answer:
    """An engine that makes runs up, so that nothing is compiled."""
    like = Manifest.from_json(task.manifest)
    runs = block(expand(task.seeds).tolist(), replace(like, kind="runs"))
    return Answer(task.seeds, seal(Tally.of(runs) if like.kind == "statistics" else runs, like), 0, 1e-3, 0.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What lies in a working directory, and beside it."""
    folder = tmp_path_factory.mktemp("world")
    work = folder / "work"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("jaxor.work.compute", instant)
        monkeypatch.setattr("jaxor.engine.plan._BLOCK_SEEDS", 1)
        monkeypatch.setattr("jaxor.engine.plan._BLOCK_WIDTHS", 1)
        for path, seeds, keep in (
            ("work/run", range(9), "runs"),
            ("work/more", range(5, 20), "runs"),
            ("work/damaged", range(9), "runs"),
            ("work/ö \U0001f3b2\n", range(4), "statistics"),
            ("beside/run", range(20, 25), "runs"),
        ):
            job = simulation.prepare("abs1_convergence", seeds, lane_width=16, keep=keep)
            simulation.execute(job, out=folder / path, where=Where(1))
        (shard,) = (work / "damaged/shards").iterdir()
        shard.write_bytes(shard.read_bytes()[:-1])
        (work / "empty").mkdir()
        (work / "notes.txt").write_text("precious")
        (work / "mine.toml").write_text(TOML)
        (work / "bad.toml").write_text(TOML.replace("max_epochs = 10", "max_epochs = '\x01"))
        (work / "broken.py").write_text("raise ValueError('two\\nlines')")
        (work / "not-utf8.toml").write_bytes(b"\xff")
        monkeypatch.setenv("HOME", str(folder / "home"))
        yield folder


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# Arguments of a process are any bytes but NUL; what is not UTF-8 among them Python shows as lone surrogates.
# Nothing here names a place outside of the working directory to write to.


def mostly(plausible: list[str], *others: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Or few commands would get far."""
    return st.integers(0, 4).flatmap(lambda which: st.one_of(*others) if which == 0 else st.sampled_from(plausible))


ODD = st.sampled_from(
    ["", " ", "-", ".", "\n", "a\nb", "\x1b[31m", "\udcff", "%s", "{}", "*", "'", "x" * 300, "y" * 5000]
)
TEXT = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), max_size=6).filter(
    lambda text: text != ".."
)
JUNK = ODD | TEXT
NUMBERS = st.sampled_from(["0", "-1", "1.5", "1e3", "nan", "٣", "9" * 30, "0x10", "1_0"])

SOURCES = mostly(
    ["run", "more", "run/", "./run", "../beside/run", "ö \U0001f3b2\n"],
    st.sampled_from(["damaged", "empty", "missing", "notes.txt", "run/shards", "/dev/null"]),
    JUNK,
)
TARGETS = mostly(
    ["new", "new/deep", "ñ \U0001f3b2", "\udcff", "run", "more"],
    st.sampled_from(["damaged", "empty", "notes.txt", "notes.txt/x", "/proc/x"]),
    JUNK,
)
FILES = mostly(
    ["all.nc", "ñ\n.nc", "\udcff.nc"],
    st.sampled_from(["missing/all.nc", "all.csv", "notes.txt/x.nc", "/proc/x.nc"]),
    JUNK,
)
EXPERIMENTS = mostly(
    ["abs1_convergence", "relu1_normal", "mine.toml"],
    st.sampled_from(["relu1_norml", "bad.toml", "not-utf8.toml", "broken.py", "missing.py", ".toml", "empty/.py"]),
    JUNK,
)
SEEDS = mostly(
    ["1", "3", "0:9", "5:20", "4294967290:4294967296"],
    st.sampled_from(["5:5", "7:3", "-3:4", "1:x", ":", "4294967297", "1:2:3"]),
    NUMBERS,
    JUNK,
)
KEYS = st.sampled_from(["name", "root_seed", "batch.size", "model", "model.slope", "stop", "init.base"])
SETTINGS = mostly(
    ["max_epochs=3", "optimizer.learning_rate=.2", "stop.loss=none", "init=kaiming", "name=other", f"name={'x' * 230}"],
    st.sampled_from(["max_epochs=-1", "max_epochs=1e999", "x=", "=", "name=../up", "source.file=x", "optimizer=[["]),
    st.builds("{}={}".format, KEYS, JUNK | NUMBERS),
    JUNK,
)
RULES = mostly(
    ["halfwidth(success)<=0.4", "halfwidth(success)<.45"],
    st.sampled_from(["halfwidth(success)<=0", "halfwidth(success)<=nan", "halfwidth(x)<1"]),
    JUNK,
)
CLUSTERS = st.sampled_from(["", "nonsense", "local:", "local:0", "tcp://", "tcp://:8786", "http://x:1", "\n"])


def option(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.one_of(values.map(lambda value: [name, value]), values.map(lambda value: [f"{name}={value}"]))


def some(*options: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(*options), max_size=4).map(lambda chosen: sum(chosen, []))


def flags(*names: str) -> st.SearchStrategy[list[str]]:
    return st.sampled_from([[name] for name in names])


def words(*parts: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.tuples(*parts).map(lambda chosen: sum(chosen, []))


def up_to(most: int, values: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(values, min_size=least, max_size=most)


SIMULATE = some(
    flags("--resume", "--allow-mixed", "--x64", "--quiet", "--json"),
    option("--out", TARGETS),
    option("--keep", mostly(["runs", "statistics"], JUNK)),
    option("--until", RULES).map(lambda rule: ["--keep", "statistics", *rule]),
    option("--traces", mostly(["all", "loss", "none", "every=3"], st.just("every=0"), JUNK)),
    option("--parameters", mostly(["both", "final", "none"], JUNK)),
    option("--set", SETTINGS),
    option("--lane-width", mostly(["16", "32", "64"], st.just("17"), NUMBERS, JUNK)),
    option("--devices", mostly(["1"], NUMBERS.filter(lambda text: text != "9" * 30))),
    option("--cluster", CLUSTERS),
    option("--cache", TARGETS),
)
COMMANDS = st.one_of(
    words(st.just(["simulate"]), up_to(1, EXPERIMENTS), option("--seeds", SEEDS), SIMULATE),
    words(st.just(["simulate"]), up_to(1, EXPERIMENTS), option("--seeds", SEEDS), SIMULATE),
    words(
        st.just(["simulate", "--seeds", "0:9", "--lane-width", "16", "--resume"]), option("--out", TARGETS), SIMULATE
    ),
    words(st.just(["experiments"]), up_to(1, EXPERIMENTS), some(flags("--json"))),
    words(st.sampled_from([["info"], ["verify"]]), up_to(1, SOURCES, 1), some(flags("--json"))),
    words(
        st.just(["merge"]),
        up_to(3, SOURCES),
        option("--out", TARGETS),
        some(flags("--resume", "--allow-mixed", "--json")),
    ),
    words(st.just(["export"]), up_to(1, SOURCES, 1), up_to(1, FILES, 1)),
)
NOISE = st.one_of(st.sampled_from(["--help", "-h", "--version", "--", "--nonsense", "-x", "--json=1", "--out"]), JUNK)


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """A command, now and then with a word too many, in the wrong place, or too few."""
    typed = draw(COMMANDS)
    change = draw(st.integers(0, 9))
    place = draw(st.integers(0, len(typed)))
    if change == 0:
        typed.insert(place, draw(NOISE))
    elif change == 1:
        del typed[place : place + 1]
    return typed


@settings(max_examples=examples(300), deadline=None)
@given(arguments())
@example(["--nonsense", "simulate"])
@example(["simulate", "broken.py", "--seeds", "1"])
@example(["simulate", "--seeds", "1", "--out", "\udcff"])
def test_any_arguments(world: Path, arguments: list[str]) -> None:
    beside = contents(world / "beside")
    with TemporaryDirectory(dir=world) as folder, pytest.MonkeyPatch.context() as monkeypatch, patch.dict(os.environ):
        work = Path(folder, "work")
        shutil.copytree(world / "work", work)
        monkeypatch.chdir(work)
        result = CliRunner().invoke(main, arguments, prog_name="jaxor")
        assert [*Path(folder).iterdir()] == [work] and (work / "notes.txt").read_text() == "precious"
    assert {path.name for path in world.iterdir()} == {"work", "beside"} and contents(world / "beside") == beside
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.output
    assert "--debug" not in result.stderr and "can't encode" not in result.stderr  # not foreseen
    if result.exit_code == 0 or (
        "verify" in arguments and result.stdout
    ):  # what is wrong with a directory is its result
        assert result.stderr == ""
    elif arguments:  # without any it shows the help
        assert result.stderr.startswith("Error: ") and len(result.stderr.splitlines()) == 1
