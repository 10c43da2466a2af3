"""Kinds of arguments on the command line."""

from __future__ import annotations

import contextlib
import re
import tomllib
from typing import Any

import click


class SeedRange(click.ParamType):
    """``N`` or ``A:B`` as a range."""

    name = "N|A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Check what was given."""
        match = re.fullmatch(r"(?:(-?[0-9]{1,30}):)?(-?[0-9]{1,30})", value)
        if match is None:
            self.fail(f"{value!r} is neither a number of seeds (10000) nor a range (500:600)", param, ctx)
        start, stop = int(match[1] or 0), int(match[2])
        if match[1] is None and stop < 1:
            self.fail(f"the number of seeds must be at least 1, got {stop}", param, ctx)
        if start >= stop:
            self.fail(f"{value} holds no seeds; A:B means A up to but without B, so A must be below B", param, ctx)
        if start < 0 or stop > 2**32:
            self.fail(f"seeds must be between 0 and 2^32 - 1, got {start} to {stop - 1}", param, ctx)
        return range(start, stop)


class Setting(click.ParamType):
    """``key=value`` as a pair, the value read as TOML."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Check what was given."""
        key, equals, text = (part.strip() for part in value.partition("="))
        if not key or not equals:
            self.fail(f"{value!r} is not of the form key=value, such as optimizer.learning_rate=0.2", param, ctx)
        return key, _value(key, text)


def _value(key: str, text: str) -> Any:
    """A TOML value or a number such as .2; else ``none`` where an option can be left out; else the text itself."""
    with contextlib.suppress(ValueError, RecursionError):  # the second if there are thousands of brackets
        table = tomllib.loads(f"value = {text}")
        if list(table) == ["value"]:  # and not more lines
            return table["value"]
    with contextlib.suppress(ValueError):
        return float(text)
    return None if text == "none" and "." in key and not key.endswith(".name") else text
