"""Command line of the benches: what they have in common."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from bench.report import gpu

DEVICES = ("cpu", "gpu")


def parser(name: str, description: str | None) -> ArgumentParser:
    """A parser that knows ``--quick`` and ``--device``."""
    made = ArgumentParser(prog=f"python -m {name}", description=description)
    made.add_argument("--quick", action="store_true", help="smaller sizes and three turns")
    made.add_argument("--device", choices=DEVICES, action="append", help="only this kind of device; repeatable")
    return made


def devices(options: Namespace, cpu_only: str | None = None) -> list[str]:
    """Kinds of device to measure, of those asked for or all; says which are not, and ends if none is left.

    Parameters
    ----------
    options : Namespace
        From `parser`.
    cpu_only : str, optional
        Why a GPU is left alone even if there is one.
    """
    measured: list[str] = list(dict.fromkeys(options.device or DEVICES))
    if "gpu" in measured:
        why = "none here" if gpu() is None else cpu_only
        if why:
            print(f"gpu: not measured, {why}")
            measured.remove("gpu")
    if not measured:
        raise SystemExit(0)
    return measured
