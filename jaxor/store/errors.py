"""What can go wrong with stored runs."""

from __future__ import annotations


class StoreError(Exception):
    """Something stored cannot be used as asked; one sentence says what, what was seen and what to do."""


class TraceNotStored(LookupError):
    """The run was simulated without recording what was asked for."""
