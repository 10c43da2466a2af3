"""A whole run directory as one file for other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from jaxor.store import atomic, delimited, netcdf
from jaxor.store.directory import RunDirectory
from jaxor.store.errors import StoreError, TraceNotStored
from jaxor.store.population import read_population
from jaxor.store.run import NO_TRACES
from jaxor.store.shard import encode_tally
from jaxor.store.tables import Table, table_of_counts, table_of_records, table_of_runs

Writer = Callable[[BinaryIO], object]

TABLES = {"runs": ("runs", "records"), "statistics": ("epochs", "initial_loss", "final_loss")}
"""By kind of directory; the first is the default."""

_SUFFIXES = (".nc", ".parquet", ".csv")


def export_run(run_dir: str | Path, target: str | Path, table: str | None = None) -> None:
    """Write a run directory into one file; the end of its name says of which kind.

    ``.nc`` is netCDF-4 with the variables of the shards and holds everything; ``.parquet`` and ``.csv`` hold one table.
    Runs are written by ascending seed; counts of runs are added up. Equal runs give equal bytes, however they were cut
    into shards. A directory may be larger than memory.

    Parameters
    ----------
    run_dir : str or Path
    target : str or Path
        A new file in an existing directory.
    table : str, optional
        A row for each of the ``"runs"`` (the default) or of the ``"records"`` of their traces. Of statistics, a row for
        each value of ``"epochs"`` (the default), ``"initial_loss"`` or ``"final_loss"``, by status and success.

    Raises
    ------
    ValueError
        If the name ends otherwise or there is no such table.
    StoreError
        If the runs cannot be read, `target` exists, or it cannot be written; then there is no `target`.
    TraceNotStored
        If there are no records.
    ImportError
        If a ``.parquet`` file is asked for and pyarrow is not installed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from jaxor import simulate
    >>> with TemporaryDirectory() as out:
    ...     simulate("abs1_convergence", seeds=3, out=f"{out}/run")  # doctest: +ELLIPSIS
    ...     export_run(f"{out}/run", f"{out}/run.csv")
    ...     print(Path(f"{out}/run.csv").read_text())
    <Run of abs1_convergence: ...>
    seed,status,steps,epochs,initial_loss,final_loss,final_accuracy,"initial linear1.weight[0,0]",...
    0,converged,...
    """
    target = Path(target).absolute()
    _check_new(target, _SUFFIXES)
    _put(target, _writer(RunDirectory.open(run_dir), target.suffix, table))


def export_table(table: Table, target: str | Path) -> None:
    """Write a table into a new file that ends in ``.parquet`` or ``.csv``; the errors are those of `export_run`.

    Parameters
    ----------
    table : Table
    target : str or Path
    """
    target = Path(target).absolute()
    check_new_table(target)
    write = _table_writer(target.suffix)
    _put(target, lambda file: write(file, table))


def check_new_export(target: str | Path) -> None:
    """Raise what `export_run` would about the name alone, before the work for it is done."""
    _check_new(Path(target).absolute(), _SUFFIXES)


def check_new_table(target: str | Path) -> None:
    """Raise what `export_table` would about the name alone, before the work for it is done."""
    _check_new(Path(target).absolute(), _SUFFIXES[1:])


def _check_new(target: Path, suffixes: tuple[str, ...]) -> None:
    if target.suffix not in suffixes:
        raise ValueError(f"the file must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}, got {target.name}")
    if target.exists():
        raise StoreError(f"{target} exists already; remove it or choose another name")
    if not target.parent.is_dir():
        raise StoreError(f"cannot write {target}: there is no directory {target.parent}; make it first")


def _put(target: Path, write: Writer) -> None:
    try:
        with atomic.replacing(target) as file:
            write(file)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error


def _writer(directory: RunDirectory, suffix: str, table: str | None) -> Writer:
    """What writes the file, once all that can be known before is known to be right."""
    manifest = directory.manifest
    if suffix != ".nc":
        write, made = _table_writer(suffix), _table(directory, table or TABLES[manifest.kind][0])
        return lambda file: write(file, made)
    if table is not None:
        raise ValueError(f"a .nc file holds everything; leave out the table {table}, or export to .parquet or .csv")
    if manifest.kind == "statistics":
        data = encode_tally(read_population(directory).tally, manifest.attributes())
        return lambda file: file.write(data)
    shards = directory.shards()
    return lambda file: netcdf.write(file, manifest, shards)


def _table_writer(suffix: str) -> Callable[[BinaryIO, Table], object]:
    if suffix == ".csv":
        return delimited.write
    try:
        from jaxor.store import parquet
    except ImportError as error:
        raise ImportError(
            "a .parquet file needs pyarrow; install it with: pip install 'jaxor[parquet]', or export to .csv or .nc"
        ) from error
    return parquet.write


def _table(directory: RunDirectory, name: str) -> Table:
    manifest = directory.manifest
    if name not in TABLES[manifest.kind]:
        known = ", ".join(TABLES[manifest.kind])
        raise ValueError(f"a directory of {manifest.kind} has the tables {known}, got {name!r}")
    if manifest.kind == "statistics":
        return table_of_counts(manifest, read_population(directory).tally, name)
    if name == "runs":
        return table_of_runs(manifest, directory.shards())
    if manifest.traces == "none":
        raise TraceNotStored(NO_TRACES)
    return table_of_records(manifest, directory.shards())
