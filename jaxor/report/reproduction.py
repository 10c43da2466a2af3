"""What documents say beside what comes out here, as text and as Markdown."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from jaxor.report.tables import columns, section, wrapped
from jaxor.reproduction.claims import DIFFERS, NEARLY_ALL, Answer, Figure, Finding
from jaxor.reproduction.run import Reproduced

HEADS = "where", "claim", "printed", "here", "95 %", "samples as large", "so it is"

MEANING = (
    "Here: what the document's own procedure gives on average, and where that mean lies with a probability of 95 %. "
    f"Samples as large: where {100 * NEARLY_ALL:.1f} % of samples with as many runs as the document's lie. A printed "
    "figure in there is reproduced: it is what one would find with as few runs."
)


def reproduction_text(found: Sequence[Reproduced]) -> str:
    """Tables for the terminal."""
    return "\n\n".join([*map(_table_text, found), wrapped(MEANING), counts(found)])


def _table_text(one: Reproduced) -> str:
    rows = [HEADS, *(_row(answer) for answer in one.answers)]
    notes = [wrapped(f"{answer.claim.statement}: {note}") for answer in one.answers if (note := _note(answer))]
    title = f"{one.table.title} ({one.table.name}, {one.seconds:.0f} s)"
    return "\n".join([section(one.table.document, title), columns(rows, "<<>>>><"), *notes])


def _row(answer: Answer) -> tuple[str, ...]:
    measured, claim = answer.measured, answer.claim
    figures = ("-", "-", "-")
    if isinstance(measured, Figure):
        figures = (f"{measured.value:.4g}", _span(measured.interval), _span(measured.range))
    elif isinstance(measured, Finding):
        figures = ({True: "yes", False: "no", None: "open"}[measured.holds], "-", "-")
    return claim.where, textwrap.shorten(claim.statement, 60), claim.printed, *figures, answer.verdict


def _span(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _note(answer: Answer) -> str:
    """The figures of a finding, why something differs, and why it cannot be measured."""
    measured = answer.measured
    parts = (
        [] if isinstance(measured, Figure) else [measured.figures if isinstance(measured, Finding) else measured.why]
    )
    if answer.verdict == DIFFERS:
        parts.append(answer.claim.why or "Why is not known.")
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts)


def counts(found: Sequence[Reproduced]) -> str:
    """How many claims have which verdict."""
    number = Counter(answer.verdict for one in found for answer in one.answers)
    return ", ".join(f"{count} {verdict}" for verdict, count in number.most_common())


def reproduction_markdown(found: Sequence[Reproduced]) -> str:
    """The same as Markdown."""
    parts = ["# What the documents say, measured again", counts(found), MEANING]
    document = ""
    for one in found:
        if one.table.document != document:
            document = one.table.document
            parts.append(f"## {document}")
        parts.append(f"### {one.table.title}\n\n`{one.table.name}`, {one.runs:,} runs, {one.seconds:.0f} s")
        rows = [(*HEADS, "why"), ("---",) * (len(HEADS) + 1)]
        rows += [(*_cells(answer), _note(answer)) for answer in one.answers]
        parts.append("\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows))
    return "\n\n".join(parts) + "\n"


def _cells(answer: Answer) -> tuple[str, ...]:
    where, _, *rest = _row(answer)
    return where, answer.claim.statement, *rest
