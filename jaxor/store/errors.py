"""What can go wrong with stored runs."""

from __future__ import annotations


class StoreError(Exception):
    """Something stored cannot be used as asked; one sentence says what, what was seen and what to do."""


class Damaged(StoreError):
    """A shard's content does not match the hash in its name, so nothing in it is trusted."""


class NewerFormat(StoreError):
    """A file was written by a later version of jaxor, so nothing can be said about its runs."""


class TraceNotStored(LookupError):
    """The run was simulated without recording what was asked for."""
