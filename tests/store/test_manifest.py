from __future__ import annotations

import json
from typing import Any

import pytest

from jaxor.store.errors import StoreError
from jaxor.store.manifest import Manifest
from jaxor.store.schema import SCHEMA
from tests.store.samples import manifest


def changed(**changes: Any) -> str:
    """The manifest's text with other values; None takes one out."""
    values = json.loads(manifest().to_json()) | changes
    return json.dumps({name: value for name, value in values.items() if value != "(absent)"})


def test_round_trip() -> None:
    one = manifest([3, 4, 5, 9], initial_params_hash="ab", parameters="final", traces="every=5")
    assert Manifest.from_json(one.to_json()) == one
    assert Manifest.from_json(one.to_json().encode()).to_json() == one.to_json()


def test_text_is_plain_json_with_the_identity() -> None:
    values = json.loads(manifest().to_json())
    assert values["seeds"] == [[0, 10]]
    assert values["identity"] == manifest().identity
    assert values["schema"] == SCHEMA
    assert values["kind"] == "runs"


def test_identity_is_of_what_fixes_the_bits() -> None:
    plain = {"name": "zwei_geraden_ä", "task": {"name": "xor"}, "max_epochs": 7}
    pinned = "67da956fb818a66b848c7c5f12c247613e56d7b6934d787234e3482f3d1663aa"
    assert manifest(experiment=plain).identity == pinned  # the same for ever
    identity = manifest().identity
    same: dict[str, Any]
    other: dict[str, Any]
    for same in (
        {"seeds": ((5, 6),)},
        {"traces": "loss"},
        {"parameters": "none"},
        {"platform": {}},
        {"extra": {"a": 1}},
    ):
        assert manifest(**same).identity == identity, same
    reordered = dict(reversed(manifest().experiment.items()))
    assert manifest(experiment=reordered).identity == identity
    for other in (
        {"experiment": manifest().experiment | {"max_epochs": 8}},
        {"lane_width": 65},
        {"x64": True},
        {"prng": "rbg"},
        {"initial_params_hash": "ab"},
    ):
        assert manifest(**other).identity != identity, other


def test_unknown_keys_are_kept() -> None:
    read = Manifest.from_json(changed(mood="sunny"))
    assert read.extra == {"mood": "sunny"}
    assert json.loads(read.with_seeds(((50, 60),)).to_json())["mood"] == "sunny"


def test_a_manifest_without_a_rule_has_none() -> None:
    assert Manifest.from_json(changed(until="(absent)")) == manifest()


def test_the_last_rule_counts() -> None:
    first = manifest().with_seeds((), "halfwidth(success)<=0.01")
    assert first.until == "halfwidth(success)<=0.01" == Manifest.from_json(first.to_json()).until
    assert first.with_seeds(((0, 5),)).until == first.until and first.identity == manifest().identity
    assert first.with_seeds((), "halfwidth(success)<0.1").until == "halfwidth(success)<0.1"


@pytest.mark.parametrize("name", sorted(json.loads(manifest().to_json()).keys() - {"schema", "until", "draws"}))
def test_missing_keys_are_refused(name: str) -> None:
    with pytest.raises(StoreError, match=f"lacks {name};"):
        Manifest.from_json(changed(**{name: "(absent)"}))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no number 'schema'"),
        ("{}", "no number 'schema'"),
        (changed(schema="1"), "no number 'schema'"),
        (changed(schema=SCHEMA + 1, seeds="(absent)"), f"newer jaxor .format {SCHEMA + 1}.*upgrade"),
        (changed(seeds=5), "has seeds = 5"),
        (changed(seeds=[5]), "has seeds = "),
        (changed(seeds=[["a", 2]]), "has seeds = "),
        (changed(seeds=[[1, 2, 3]]), "has seeds = "),
        (changed(experiment=[]), "has experiment = "),
        (changed(x64="yes"), "has x64 = 'yes'"),
        (changed(param_names=[1]), "has param_names = "),
        (changed(kind="dreams"), "has kind = 'dreams'"),
        (changed(until=0.01), "has until = 0.01"),
        (changed(lane_width=65), "was edited"),
        (changed(identity="0" * 64), "was edited"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(text: str | bytes, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        Manifest.from_json(text)


def test_more_seeds() -> None:
    assert manifest().with_seeds(((10, 20), (30, 31))).seeds == ((0, 20), (30, 31))
