"""Experiments written down in any order of keys are one experiment."""

from __future__ import annotations

import json
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxor.experiments.experiment import Experiment
from jaxor.store.manifest import Manifest
from tests.examples import examples
from tests.experiments import generated
from tests.store.samples import manifest


def reordered(value: Any, draw: st.DataObject) -> Any:
    """The same tables, each with its keys in any order; lists keep theirs."""
    if isinstance(value, dict):
        return {key: reordered(value[key], draw) for key in draw.draw(st.permutations(list(value)))}
    return [reordered(item, draw) for item in value] if isinstance(value, list) else value


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(generated.tables(), st.data())
def test_any_order_in_any_file(table: dict[str, Any], draw: st.DataObject) -> None:
    """As TOML, as JSON, and in the manifest of a run directory."""
    experiment = Experiment.from_dict(table)
    written = reordered(experiment.to_dict(), draw)
    again = [
        Experiment.from_toml(tomli_w.dumps(written)),
        Experiment.from_dict(json.loads(json.dumps(written))),
        Experiment.from_dict(reordered(table, draw)),
        Experiment.from_toml(experiment.to_toml()),
    ]
    assert [other.identity for other in again] == [experiment.identity] * len(again)
    assert again == [experiment] * len(again)

    stored = manifest(experiment=experiment.to_dict())
    mixed = json.dumps(reordered(json.loads(stored.to_json()) | {"experiment": written}, draw))
    assert Manifest.from_json(mixed) == stored and Manifest.from_json(mixed).to_json() == stored.to_json()
