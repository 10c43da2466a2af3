"""``python -m bench [--quick] [--device cpu|gpu] [NAME ...]``: all measurements or some, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from bench.options import parser

NAMES = ("throughput", "scaling", "lanes", "storage", "startup", "populations")


def main() -> None:
    """Run them, one after the other; the exit code says whether all ended well."""
    made = parser("bench", "Measure jaxor: runs a second, scaling, lanes, storage, start-up, counts.")
    made.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all, if none is named")
    options = made.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        made.error(f"no bench is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    flags: list[Any] = ["--quick"] * options.quick
    flags += [f"--device={device}" for device in options.device or ()]
    failed = []
    for name in options.names or NAMES:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *flags], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
