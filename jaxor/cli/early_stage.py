"""``jaxor early-stage``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxor.cli.watching import watching

if TYPE_CHECKING:
    from jaxor.analysis.separated_nets import SeparatedNets

IMAGES = "digits", "mnist", "fashion_mnist", "cifar10"
SEPARATED = "antipodal", "one_pair", "equal_cosines", "image_pair"

ON_IMAGES = "table", "sgd"
SEEDS = {"table": 16, "descent": 1000, "sgd": 100, "lemmas": 100, "rates": 100}
STUDIES = *SEEDS, "first-step", "data"

Study = Callable[[Callable[[str], Any] | None], Any]
Text = Callable[[Any], str]


@click.command("early-stage")
@click.argument("study", type=click.Choice(STUDIES), default="table")
@click.option(
    "--data", metavar="NAME",
    help=f"Images ({', '.join(IMAGES)}) for table and sgd, else {', '.join(SEPARATED)}; data takes all.  "
    "[default: digits, antipodal]",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(path_type=Path, exists=True),
    help="npz file or folder with images, in place of JAXOR_IMAGES.",
)  # fmt: skip
@click.option("--seeds", type=int, help="Runs.  [default: table 16 a cell, descent 1000, others 100]")
@click.option("--width", "widths", type=int, multiple=True, help="Neurons; repeatable for table.")
@click.option("--points", type=int, help="Points of separated data.  [default: 20]")
@click.option("--dimension", type=int, help="Their inputs.  [default: 50]")
@click.option("--kappa", type=float, help="Scale of their start.  [default: the largest that Corollary 4.3 allows]")
@click.option("--delta", type=float, help="Their part of the probability of failure.  [default: 0.1]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where study.json and plots go.  [default: outputs/early-stage-<study>-<data>]",
)  # fmt: skip
@click.option("--plots", is_flag=True, help="Draw plots too.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in place of tables.")
def early_stage(
    study: str, data: str | None, images: Path | None, seeds: int | None, widths: Sequence[int], points: int | None,
    dimension: int | None, kappa: float | None, delta: float | None, out: Path | None, plots: bool,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Test the theory of early-stage convergence on many seeds.

    Wang and Ma (NeurIPS 2022) on two-layer ReLU nets. STUDY is one of: table (their Table 1), descent (Corollary 4.3),
    sgd (Theorem 4.6), lemmas (neuron partition and what follows from it), rates (Theorems 5.2 and 5.3), first-step
    (their figure 1), data (do the assumptions hold).
    """
    from jaxor.report.drawing import check_matplotlib
    from jaxor.store.derived import keep

    _check_options(
        study, data=data, seeds=seeds, widths=widths, points=points, dimension=dimension, kappa=kappa,
        delta=delta, plots=plots or None,
    )  # fmt: skip
    if plots:
        check_matplotlib()
    if images is not None:
        os.environ["JAXOR_IMAGES"] = str(images)
    data = data or ("digits" if study in ON_IMAGES else SEPARATED[0])
    runs = SEEDS.get(study, 0) if seeds is None else seeds
    if data in IMAGES:
        measure, show = _on_images(study, data, runs, widths)
    else:
        nets = _nets(data, points, dimension, widths, kappa, delta)
        measure, show = _on_separated(study, nets, runs)
    with watching(quiet or as_json) as watch:
        found = measure(watch)
    folder = out or Path("outputs") / (
        "early-stage-first-step" if study == "first-step" else f"early-stage-{study}-{data}"
    )
    text = json.dumps({"study": study} | found.to_dict(), allow_nan=False)
    keep(folder / "study.json", f"{text}\n".encode())
    if plots:
        from jaxor.report.early_stage_plots import save_plots

        save_plots(found, folder)
    click.echo(text if as_json else f"{show(found)}\n\nKept in {folder}.")


def _check_options(study: str, **options: Any) -> None:
    """Refuse what a study has no use for."""
    separated = "points", "dimension", "kappa", "delta"
    useless = {
        "table": separated, "sgd": (*separated, "widths"), "first-step": ("data", "seeds", "widths", *separated),
        "data": ("seeds", "plots"),
    }.get(study, ())  # fmt: skip
    if study == "data" and options["data"] in IMAGES:
        useless = ("seeds", "plots", "widths", *separated)
    for name in useless:
        if options[name] not in (None, ()):
            raise click.UsageError(f"{study} has no use for --{name.removesuffix('s') if name == 'widths' else name}")
    if study != "table" and len(options["widths"]) > 1:
        raise click.UsageError(f"{study} takes one --width")
    known = IMAGES if study in ON_IMAGES else (*SEPARATED, *IMAGES) if study == "data" else SEPARATED
    if options["data"] not in (None, *known):
        raise click.UsageError(f"{study} is for the data {', '.join(known)}, got {options['data']!r:.60}")


def _on_images(study: str, data: str, seeds: int, widths: Sequence[int]) -> tuple[Study, Text]:
    from jaxor.analysis.corollaries import many_classes
    from jaxor.analysis.promises import ImagePromises
    from jaxor.analysis.table1 import WIDTHS, table
    from jaxor.report.early_stage import many_classes_text, table_text
    from jaxor.report.statements import image_data_text

    if study == "data":
        return lambda watch: ImagePromises(data), image_data_text
    if study == "sgd":
        return lambda watch: many_classes(data, seeds, watch=watch), many_classes_text
    return lambda watch: table(data, seeds, widths=widths or WIDTHS, watch=watch), table_text


def _nets(
    data: str,
    points: int | None,
    dimension: int | None,
    widths: Sequence[int],
    kappa: float | None,
    delta: float | None,
) -> SeparatedNets:
    from jaxor.analysis.separated_nets import SeparatedNets

    return SeparatedNets(
        data, 20 if points is None else points, dimension, 0.1 if delta is None else delta,
        given_width=next(iter(widths), None), given_kappa=kappa,
    )  # fmt: skip


def _on_separated(study: str, nets: SeparatedNets, seeds: int) -> tuple[Study, Text]:
    from jaxor.analysis.corollaries import two_classes
    from jaxor.analysis.first_step import first_step
    from jaxor.analysis.lemmas import lemmas
    from jaxor.analysis.promises import Promises
    from jaxor.analysis.rates import rates
    from jaxor.report.early_stage import two_classes_text
    from jaxor.report.early_stage_lemmas import first_step_text, lemmas_text, rates_text
    from jaxor.report.statements import data_text

    studies: dict[str, tuple[Study, Text]] = {
        "descent": (lambda watch: two_classes(nets, seeds, watch=watch), two_classes_text),
        "lemmas": (lambda watch: lemmas(nets, seeds, watch=watch), lemmas_text),
        "rates": (lambda watch: rates(nets, seeds, watch=watch), rates_text),
        "first-step": (lambda watch: first_step(), first_step_text),
        "data": (lambda watch: Promises(nets), data_text),
    }
    return studies[study]
