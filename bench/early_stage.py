"""The theory of early-stage convergence on many seeds: every study of ``jaxor early-stage``, with its time.

Takes about ten minutes; with --quick an eighth of the seeds. MNIST and CIFAR-10 are measured where JAXOR_IMAGES names
them, or MNIST's copy among the test data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.options import parser
from bench.report import machine, write
from jaxor.analysis.corollaries import many_classes, two_classes
from jaxor.analysis.first_step import first_step
from jaxor.analysis.lemmas import lemmas
from jaxor.analysis.rates import rates
from jaxor.analysis.separated_nets import SeparatedNets
from jaxor.analysis.table1 import table
from jaxor.experiments.images import load_images
from jaxor.experiments.registry import ExperimentError
from jaxor.report.early_stage import many_classes_text, table_text, two_classes_text
from jaxor.report.early_stage_lemmas import first_step_text, lemmas_text, rates_text

TEST_DATA = Path(__file__).parents[1] / "tests" / "data" / "images"
DATA = "antipodal", "one_pair"


def main() -> None:
    """Measure, print, write."""
    options = parser("bench.early_stage", __doc__).parse_args()
    os.environ.setdefault("JAXOR_IMAGES", str(TEST_DATA))
    part = 8 if options.quick else 1
    studies: list[dict[str, Any]] = []

    def measure(name: str, study: Callable[[], Any], show: Callable[[Any], str]) -> None:
        started = time.perf_counter()
        found = study()
        seconds = time.perf_counter() - started
        print(f"\n{'=' * 20} {name}: {seconds:.0f} s\n\n{show(found)}", flush=True)
        studies.append({"name": name, "seconds": seconds} | _short(found.to_dict()))

    for source in _sources():
        measure(f"table, {source}", partial(table, source, 16 // part), table_text)
    for source in _sources():
        measure(f"sgd, {source}", partial(many_classes, source, 100 // part), many_classes_text)
    for data in (*DATA, "image_pair"):
        nets = SeparatedNets(data)
        measure(f"descent, {data}", partial(two_classes, nets, 1000 // part), two_classes_text)
    for data in DATA:
        nets = SeparatedNets(data)
        measure(f"lemmas, {data}", partial(lemmas, nets, 100 // part), lemmas_text)
        measure(f"rates, {data}", partial(rates, nets, 100 // part), rates_text)
    measure("first step", first_step, first_step_text)
    write("early_stage", {"machine": machine(), "studies": studies})


def _sources() -> list[str]:
    """Data sets that can be had here."""
    found = []
    for source in ("digits", "mnist", "cifar10"):
        try:
            load_images(source, 1000)
        except ExperimentError as error:
            print(f"{source} is left out: {error}")
        else:
            found.append(source)
    return found


LEFT_OUT = "bands", "origin", "experiment", "provenance"
"""What is there for every step, where images lay, and what the studies say of themselves."""


def _short(value: Any) -> Any:
    """A table without what is left out, at any depth."""
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items() if name not in LEFT_OUT}
    return [_short(part) for part in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    main()
