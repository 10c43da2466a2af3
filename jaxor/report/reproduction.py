"""What documents say beside what comes out here, as text and as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence

from jaxor.report.tables import section
from jaxor.reproduction.claims import CANNOT, DIFFERS, LEFT, OPEN, REPRODUCED, Answer
from jaxor.reproduction.figures import EXACT, NEARLY_ALL, Figure, Finding
from jaxor.reproduction.run import Reproduced, chosen

HEADS = "where", "claim", "printed", "here", "95 %", "samples as large", "measured", "verdict", "notes"

_SHARE = f"{100 * NEARLY_ALL:.1f} %"

MEANING = (
    ("here", "what the document's own procedure gives on average; 95 %: where that mean lies with that probability"),
    ("samples as large", f"where {_SHARE} of samples with as many runs as the document's lie"),
    (REPRODUCED, "the printed figure, give or take its rounding, is in there: it is what one may find with as few "
     "runs, which does not make it the mean; or what is said holds, by the rule in the notes if it is not said to hold "
     "always"),
    (DIFFERS, "it is outside, or what is said does not hold; the notes say why"),
    (OPEN, "what was measured allows both; the notes say why"),
    (CANNOT, "the notes say why"),
    (LEFT, "it takes too long for a quick look"),
)  # fmt: skip
"""Of the words of the tables."""


def reproduction_text(found: Sequence[Reproduced]) -> str:
    """Tables for the terminal, 80 columns wide."""
    words = "\n".join(_hanging(f"{name}: ", text) for name, text in MEANING)
    return "\n\n".join([*map(_table_text, found), section("Words", words), textwrap.fill(summary(found), 80)])


def _table_text(one: Reproduced) -> str:
    rows = "\n".join(map(_answer_text, one.answers))
    about = textwrap.fill(f"{one.table.document}. {one.table.name}: {_made(one)}", 80)
    return "\n".join([section(one.table.title, about), "", rows])


def _made(one: Reproduced) -> str:
    """Of how many runs, in what time."""
    if one.made is None:
        return f"{LEFT}."
    took = f"{one.made.seconds:,.0f} s by the clock and {one.made.cpu_seconds:,.0f} s of processor time"
    return f"{one.runs:,} runs, {took}."


def _answer_text(answer: Answer) -> str:
    """A claim with its verdict in front; below it the figures and why."""
    measured, claim = answer.measured, answer.claim
    lines = [_hanging(f"{answer.verdict:<11} ", f"{claim.where}: {claim.statement}")]
    if isinstance(measured, Figure):
        here, interval, samples = _numbers(measured, claim.printed)
        spans = f" (95 %: {interval}); samples {samples}" if interval else ""
        lines.append(_hanging(" " * 12, f"printed {claim.printed}, here {here}{spans}"))
    if note := _note(answer):
        lines.append(_hanging(" " * 12, note))
    return "\n".join(lines)


def _hanging(head: str, text: str) -> str:
    return textwrap.fill(text, 80, initial_indent=head, subsequent_indent=" " * 12)


def _numbers(figure: Figure, printed: str) -> tuple[str, str, str]:
    """Value, interval and range in the unit of what is printed; the last two empty where chance has no part in it."""
    unit = re.search(r"/(\d+)$| %$|x$", printed)
    suffix = unit[0] if unit else ""
    scale = 100.0 if suffix == " %" else float(unit[1]) if unit and unit[1] else 1.0
    digits = re.search(r"\.(\d+)", printed)
    places = 1 + len(digits[1]) if digits else 1  # one more than is printed

    def text(value: float) -> str:
        return f"{scale * value:,.{places}f}"

    if figure.of == EXACT:
        return f"{scale * figure.value:,g}{suffix}", "", ""

    def span(low: float, high: float) -> str:
        return f"{text(low)} to {text(high)}{suffix}"

    return f"{text(figure.value)}{suffix}", span(*figure.interval), span(*figure.range)


def _note(answer: Answer) -> str:
    """The figures of a finding, why something differs or cannot be measured, and what else to know."""
    measured = answer.measured
    parts = (
        [] if isinstance(measured, Figure) else [measured.figures if isinstance(measured, Finding) else measured.why]
    )
    if answer.verdict == DIFFERS:
        parts.append(answer.claim.why or "Why is not known.")
    return " ".join(f"{part.removesuffix('.')}." for part in (*parts, answer.claim.note) if part)


def summary(found: Sequence[Reproduced]) -> str:
    """How many claims have which verdict, and how many of those reproduced are no mean of ours."""
    answers = [answer for one in found for answer in one.answers]
    counts = Counter(answer.verdict for answer in answers).most_common()
    at_mean = [
        answer.at_mean for answer in answers if answer.verdict == REPRODUCED and isinstance(answer.measured, Figure)
    ]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts) + "."
    if not at_mean:
        return verdicts
    return (
        f"{verdicts} Of the reproduced, {len(at_mean)} are printed figures, which few runs may give: "
        f"{at_mean.count(False)} of them lie outside the 95 % interval of our mean."
    )


def reproduction_markdown(found: Sequence[Reproduced]) -> str:
    """The same as Markdown, with how it was made."""
    words = "\n".join(f"- **{name}**: {text}." for name, text in MEANING)
    parts = ["# What the documents say, measured again", _written(found), f"**{summary(found)}**", words]
    document = ""
    for one in found:
        if one.table.document != document:
            document = one.table.document
            parts.append(f"## {document}")
        parts.append(f"### {one.table.title}\n\n`{one.table.name}`: {_made(one)} {one.table.how}")
        rows = [HEADS, ("---",) * len(HEADS), *map(_cells, one.answers)]
        parts.append("\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows))
    return "\n\n".join(parts) + "\n"


def _written(found: Sequence[Reproduced]) -> str:
    """Command, machines, versions and time, and which tables were not asked for."""
    made = [one.made for one in found if one.made is not None]
    said = [
        f"Written by `jaxor reproduce{' --full' * _is_full(found)}`; nothing in it is typed in by hand but what "
        "documents print, what they say in our words, and why something differs."
    ]
    if made:
        days = sorted({one.on for one in made})
        machines = "; ".join(dict.fromkeys(one.machine for one in made))
        versions = "; ".join(dict.fromkeys(", ".join(map(" ".join, one.versions.items())) for one in made))
        minutes, cpu_minutes = sum(one.seconds for one in made) / 60, sum(one.cpu_seconds for one in made) / 60
        said.append(
            f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))} on {machines}, with {versions}: "
            f"{minutes:,.0f} minutes by the clock, summed over tables, of a machine that others may have used, too; "
            f"{cpu_minutes:,.0f} minutes of processor time."
        )
    there = {one.table.name for one in found}
    if absent := [table.name for table in chosen([]) if table.name not in there]:
        said.append(f"Not on this page: {', '.join(absent)}.")
    return " ".join(said)


def _is_full(found: Sequence[Reproduced]) -> bool:
    return any(one.runs == one.table.full for one in found)


def _cells(answer: Answer) -> tuple[str, ...]:
    measured, claim = answer.measured, answer.claim
    figures = "", "", "", ""
    if isinstance(measured, Figure):
        figures = *_numbers(measured, claim.printed), measured.of
    elif isinstance(measured, Finding):
        figures = {True: "yes", False: "no", None: "open"}[measured.holds], "", "", ""
    return claim.where, claim.statement, claim.printed, *figures, answer.verdict, _note(answer)
