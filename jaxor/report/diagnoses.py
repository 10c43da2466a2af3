"""Diagnoses as text for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxor.analysis.diagnosis import Diagnosis
from jaxor.analysis.diagnostics import Bin
from jaxor.analysis.findings import Clustering, DeadPoints, DeadUnits, Failures, MirrorPairs, Spread
from jaxor.report.tables import columns, count, fields, percent, section, wrapped

SHOWN = 4
"""Clusters of each kind that are shown, the largest ones."""

POINTS = 4
"""Points at most whose outputs are shown."""

WIDEST = 4
"""Numbers at most of a cluster's centre that are shown; standard deviations only of half as many."""


def diagnosis_text(found: Diagnosis) -> str:
    """What `jaxor diagnose` says."""
    return "\n\n".join([_head(found), *(_section(found, name) for name in _SECTIONS)])


def _head(found: Diagnosis) -> str:
    success, unstarted = found.success, found.unstarted
    left_out = f"; {unstarted:,} without first parameters left out" * bool(unstarted)
    share = percent(success.count / found.runs, found.runs)
    return fields(
        [
            ("experiment", found.run.manifest.experiment["name"]),
            ("runs", f"{found.runs:,}, of which {success.count:,} with accuracy 1 ({share}){left_out}"),
        ]
    )


def _section(found: Diagnosis, name: str) -> str:
    title, text = _SECTIONS[name]
    value = getattr(found, name)
    body = f"Not known: {found.left_out[name]}." if value is None else text(value)
    return section(title, body if value is not None else wrapped(body))


def _dead_points(rows: Sequence[DeadPoints]) -> str:
    heads = ("accuracy", "runs", "no point", "some point", "of class 0", "of class 1")
    cells = [(row.accuracy, *("-" if number is None else f"{number:,}" for number in row[1:])) for row in rows]
    return columns([heads, *cells], "<>>>>>") + "\n\n" + wrapped(
        "By accuracy after training: runs that begin with no dead point, with some, and with one of each class. At a "
        "dead point no unit's pre-activation is above 0; if the activation is ReLU, no gradient comes from there."
    )  # fmt: skip


def _dead_units(found: Mapping[str, DeadUnits]) -> str:
    heads = ("", "runs", "with a dead unit", "dead units")
    return columns([heads, *((name, *(f"{n:,}" for n in one)) for name, one in found.items())], "<>>>")


def _mirror_pairs(found: MirrorPairs) -> str:
    text = (
        f"{found.found:,} of {count(found.runs, 'run')} with accuracy .75 or more have a pair of units with opposite "
        f"weights (cosine below -.95), {found.perfect:,} a perfect one (within .001 of -1)."
    )
    if found.found:
        text += f" Cosine: {_spread(found.cosine, '.5f')}."
    return wrapped(text)


def _spread(found: Spread, digits: str = ".3g") -> str:
    if found.mean is None:
        return "-"
    return f"{found.mean:{digits}}" + ("" if found.sd is None else f" +- {found.sd:.3g}")


def _nearest(found: Mapping[str, Spread]) -> str:
    return columns([("points of", "distance"), *((name, _spread(one)) for name, one in found.items())], "<<") + (
        "\n\n" + wrapped("Of each point to the nearest unit's hyperplane, over the points of all runs.")
    )


def _distances(found: Clustering) -> str:
    return f"{_table({'units of successful runs': found}, ('class 0', 'class 1'))}\n\n" + wrapped(
        "Mean distance of the points of each class to a unit's hyperplane: clusters of these pairs, with standard "
        "deviations."
    )  # fmt: skip


def _clusters(found: Mapping[str, Clustering]) -> str:
    return f"{_table(found)}\n\n" + wrapped(
        "DBSCAN, neighbours within .1: the largest clusters with their centres and standard deviations. A row is a "
        "unit's weights or bias, and of layers all weights of a run."
    )  # fmt: skip


def _table(found: Mapping[str, Clustering], heads: Sequence[str] = ("centre",)) -> str:
    """A line for each kind of rows, and one for each of its largest clusters."""
    lines: list[tuple[str, ...]] = [("", "rows", "clusters", "noise", *heads)]
    blank = ("",) * len(heads)
    for name, one in found.items():
        clusters = one.clusters
        rows = f"{one.rows:,}" if one.used == one.rows else f"first {one.used:,} of {one.rows:,}"
        lines.append((name, rows, f"{len(clusters.size):,}", f"{clusters.noise:,}", *blank))
        largest = list(zip(clusters.size.tolist(), clusters.centre.tolist(), clusters.spread.tolist(), strict=True))
        for size, centre, spread in largest[:SHOWN]:
            cells = [f"{middle:.3g} +- {sd:.2g}" for middle, sd in zip(centre, spread, strict=True)]
            if len(centre) > WIDEST // 2:
                cells = [f"{middle:.3g}" for middle in centre[:WIDEST]] + ["..."] * (len(centre) > WIDEST)
            lines.append((f"  {size:,}", "", "", "", *(cells if len(heads) > 1 else [", ".join(cells)])))
        if len(largest) > SHOWN:
            lines.append((f"  and {len(largest) - SHOWN:,} smaller", "", "", "", *blank))
    return columns(lines, "<>>>" + "<" * len(heads))


def _failure_angles(found: Mapping[str, Spread]) -> str:
    rows = [(name, f"{one.values:,}", _spread(one, ".2f")) for name, one in found.items()]
    return columns([("", "units", "degrees"), *rows], "<><") + "\n\n" + wrapped(
        "Initial weights of a unit against the nearer of (.54, -.54) and (-.54, .54), where those of a single "
        "layer's solutions lie; two layers have others."
    )  # fmt: skip


def _displacement(found: Mapping[str, Sequence[Bin]]) -> str:
    rows = [("", "from", "to", "units", "mean epochs")]
    for name, bins in found.items():
        rows += [
            (name if one is bins[0] else "", f"{one.low:.3g}", f"{one.high:.3g}", f"{one.rows:,}",
             "-" if one.mean is None else f"{one.mean:,.1f}")
            for one in bins
        ]  # fmt: skip
    return columns(rows, "<>>>>") + "\n\n" + wrapped(
        "Units between percentiles 0, 10, 25, 50, 75, 90 and 100 of the angle, in degrees, between their weights "
        "before and after training, and of the ratio of lengths, before to after. Epochs are those of the unit's run, "
        "all runs included."
    )  # fmt: skip


def failures_text(found: Failures) -> str:
    """Where failed runs ended, as a table."""
    if not found.runs:
        return "No run failed."
    if not found.plateaus:
        return f"No loss is shared by a hundredth of the {count(found.runs, 'failed run')}, to within .005."
    rows = [("final loss", "runs", "accuracy", "errors of the points", "shared by", "seed", "its outputs")]
    for one, seed, outputs in found.plateaus:
        shared = "-" if one.sharing is None else percent(one.sharing.share or 0.0, one.runs)
        errors = " ".join(f"{error:.2g}" for error in one.errors) or "-"
        rows.append(
            (f"{one.loss:.4g}", f"{one.runs:,}", f"{one.accuracy:.3g}", errors, shared, f"{seed}", _outputs(outputs))
        )
    rest = found.runs - sum(one.plateau.runs for one in found.plateaus)
    rows += [("elsewhere", f"{rest:,}", *[""] * 5)] * bool(rest)
    return columns(rows, "<>><>><") + "\n\n" + wrapped(
        "Losses that many of the failed runs end with, to within .005: their median. Errors: the loss of each point, "
        "ascending, as most of these runs have them, and how many do so to within .02; outputs at each point of one of "
        "those."
    )  # fmt: skip


def _outputs(outputs: Sequence[Any] | None) -> str:
    if outputs is None or len(outputs) > POINTS:
        return "-"
    return " ".join(_output(output) for output in outputs)


def _output(output: Any) -> str:
    """A number, or a tuple of them; nothing is printed as -0."""
    if isinstance(output, list):
        return f"({', '.join(map(_output, output))})"
    return f"{round(output, 2) + 0.0:g}"


_SECTIONS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "dead_points": ("Dead points at the start", _dead_points),
    "dead_units": ("Dead units after training", _dead_units),
    "mirror_pairs": ("Mirror pairs", _mirror_pairs),
    "nearest": ("Distances to the nearest hyperplane", _nearest),
    "distances": ("Distances to each unit's hyperplane", _distances),
    "clusters": ("Clusters of learned weights", _clusters),
    "failure_angles": ("Angles at the start to the directions of solutions", _failure_angles),
    "displacement": ("Displacement", _displacement),
    "failures": ("Where failed runs ended", failures_text),
}
