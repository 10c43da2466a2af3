"""Plain text for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxor.engine.seeds import Ranges, number
from jaxor.store.merge import Merged
from jaxor.store.verify import Verification

if TYPE_CHECKING:  # both bring JAX with them
    from jaxor.experiments.catalog import Entry
    from jaxor.experiments.experiment import Experiment


def columns(rows: Iterable[Sequence[str]], align: str) -> str:
    """Lay out cells in columns.

    Parameters
    ----------
    rows : iterable of sequences of str
    align : str
        ``<`` or ``>`` for each column.

    Examples
    --------
    >>> print(columns([("seed", "epochs"), ("7", "1,000")], "<>"))
    seed  epochs
    7      1,000
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def section(title: str, text: str) -> str:
    """A text under its title."""
    return f"{title}\n{'-' * len(title)}\n{text}"


def wrapped(text: str) -> str:
    """A sentence or two below a wide table: 100 columns."""
    return textwrap.fill(text, 100)


def fields(rows: Iterable[tuple[str, str]]) -> str:
    """Names with what they are, long texts wrapped to 80 columns."""
    return "\n".join(
        textwrap.fill(
            text,
            80,
            initial_indent=f"{name:<12}",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for name, text in rows
    )


def verification_text(found: Verification, path: Path) -> str:
    """What `jaxor verify` says."""
    asked, there = number(found.manifest.seeds), number(found.seeds)
    missing = f", {number(found.missing):,} missing ({ranges_text(found.missing)})" if found.missing else ""
    rows = [
        ("experiment", found.manifest.experiment["name"]),
        ("identity", found.manifest.identity),
        ("sound", f"{count(found.shards, 'shard')} with {count(there, 'seed')}; {asked:,} asked for{missing}"),
        *(("computed by", made_by) for made_by in found.made_by),
        *(("no good", problem) for problem in found.problems),
    ]
    if found.digest is not None:
        rows.append(("digest", found.digest))
    verdict = f"{path} is sound." if not found.problems else f"{path} has {count(len(found.problems), 'problem')}."
    return fields(rows) + "\n\n" + verdict


def merged_text(merged: Merged, path: Path) -> str:
    """What `jaxor merge` says."""
    repeated = f"; {count(merged.repeated, 'run')} were there already and are equal" if merged.repeated else ""
    return f"{count(merged.added, 'run')} added{repeated}.\n{path} holds seeds {ranges_text(merged.seeds)}."


def experiments_table(experiments: Iterable[Experiment]) -> str:
    """The catalogue: what differs most from one experiment to the next."""
    rows = [
        (
            table["name"],
            _model(table["model"]),
            table["init"]["name"],
            " ".join(str(value) for key, value in table["optimizer"].items() if key in ("name", "learning_rate")),
            f"{table['max_epochs']:,}",
        )
        for table in (experiment.to_dict() for experiment in experiments)
    ]
    return columns([("name", "model", "init", "optimizer", "epochs"), *rows], "<<<<>")


def _model(table: dict[str, Any]) -> str:
    """A model in a word or two: its name, its hidden units or widths, its activation if that is not ReLU."""
    size = "-".join(str(width) for width in table.get("widths", [table.get("hidden", "")]))
    activation = table.get("activation", "relu")
    return table["name"] + (f"({size})" if size else "") + (f" {activation}" if activation != "relu" else "")


def experiment_text(entry: Entry) -> str:
    """One experiment of the catalogue as TOML, with where it comes from in comments."""
    paragraphs = [f"From {entry.provenance}.", entry.note]
    comments = [line for text in paragraphs for line in textwrap.wrap(text, 78, break_on_hyphens=False)]
    return "\n".join(f"# {line}" for line in comments) + "\n\n" + entry.experiment.to_toml().rstrip()


def count(number: int, noun: str) -> str:
    """A number of things.

    Examples
    --------
    >>> count(1, "run"), count(10_000, "run")
    ('1 run', '10,000 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float, total: int) -> str:
    """A share with as many digits as `total` runs can tell apart, from one to three; 0 and 100 only if it is exact.

    Examples
    --------
    >>> percent(0.58, 50), percent(0.9999, 10_000), percent(1 - 1e-7, 10**9), percent(1e-7, 10**9)
    ('58.0 %', '99.99 %', '>99.999 %', '<0.001 %')
    """
    digits = min(max(len(str(total - 1)) - 2, 1), 3)
    smallest = 10.0**-digits
    if 0 < share < smallest / 200:
        return f"<{smallest:.{digits}f} %"
    if 1 - smallest / 200 < share < 1:
        return f">{100 - smallest:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def ranges_text(ranges: Ranges) -> str:
    """Seeds in words; of more than three ranges the first two and the last.

    Examples
    --------
    >>> ranges_text(((0, 10_000), (20_000, 20_001)))
    '0 to 9,999, 20,000'
    """
    words = [f"{start:,} to {stop - 1:,}" if stop - start > 1 else f"{start:,}" for start, stop in ranges]
    return ", ".join(words if len(words) <= 3 else [*words[:2], "...", words[-1]])


def size_text(size: int) -> str:
    """Bytes with a unit.

    Examples
    --------
    >>> size_text(999), size_text(12_345_678)
    ('999 bytes', '12.3 MB')
    """
    if size < 1000:
        return count(size, "byte")
    power = (len(str(size)) - 1) // 3
    return f"{size / 1000**power:.3g} {'kMGTPE'[power - 1]}B"
