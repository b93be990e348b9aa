"""The opening portfolio: recipes of `portfolio.json`, in its order or that of `portfolio_order.json`.

The files name components, this code does not: entries whose components are missing or do not support the
data fall back or are left out, and every registered component that the file does not mention gets a trial
of its own, so that a third-party component is searched without being listed anywhere. Those under
`sampled_only` are costly and seldom the best: only the sampler draws them.

`benchmarks/portfolio.py --write` puts orders into `portfolio_order.json`, for shapes of data whose sets gain
from an order that was learned from others of their shape, in whole runs, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from autoflow.components.registry import Role, names
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.search.sampler import Value
from autoflow.search.space import (
    NodePlan,
    classifier_names,
    concatenation_names,
    extractor_names,
    is_baseline,
    is_neural,
    plan_nodes,
)

ORDER_FILE = Path(__file__).with_name("portfolio_order.json")
_FIRST = 3
"""Recipes before the components that the file does not mention."""
_FEW_ROWS = 3000


def recipes(profile: DataProfile) -> list[dict[str, Value]]:
    """Returns flat hyperparameter values for the opening trials, the cheap and promising first."""
    found = named_recipes(profile)
    order = json.loads(ORDER_FILE.read_text(encoding="utf-8")).get(shape_of(profile), [])
    names_in_order = [name for name in order if name in found]
    names_in_order += [name for name in found if name not in names_in_order]
    opening = [found[name] for name in names_in_order]
    # the first model comes at once, and the others are seen beside it
    opening.sort(key=lambda values: not is_baseline(str(values["classification"])))
    # what the file does not mention is often the user's own: it must be tried in a short search, too
    unlisted = list(_unlisted(_portfolio(), profile, plan_nodes(profile)))
    return opening[:_FIRST] + unlisted + opening[_FIRST:]


def named_recipes(profile: DataProfile) -> dict[str, dict[str, Value]]:
    """Returns the recipes of the file that support the data, by name, as flat hyperparameter values."""
    portfolio = _portfolio()
    plans = plan_nodes(profile)
    known = classifier_names(profile)
    return {
        name: _values(entry, portfolio["extractors"], plans)
        for name, entry in portfolio["recipes"].items()
        if entry["classification"] in known
        and profile.num_rows >= entry.get("min_rows", 0)
        and entry.get("needs") in (None, *(plan.kind.value for plan in plans))
        and _concatenation_fits(entry, profile)
    }


def shape_of(profile: DataProfile) -> str:
    """Returns the shape of data that decides the order of trying, by kinds of columns and number of rows."""
    kinds = {plan.kind for plan in plan_nodes(profile)}
    if ColumnKind.IMAGE in kinds:
        return "pictures"
    if ColumnKind.TEXT in kinds:
        return "texts" if kinds == {ColumnKind.TEXT} else "texts and others"
    return "few rows" if profile.num_rows < _FEW_ROWS else "many rows"


def _portfolio() -> dict[str, Any]:
    text = Path(__file__).with_name("portfolio.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def _values(
    entry: Mapping[str, Any], extractor_sets: Mapping[str, Mapping[str, str]], plans: tuple[NodePlan, ...]
) -> dict[str, Value]:
    classifier = entry["classification"]
    family = "neural" if is_neural(classifier) else "matrix"
    chosen = extractor_sets[entry["extractors"]] | entry.get("replace", {})
    values: dict[str, Value] = {"classification": classifier}
    for plan in plans:
        values[f"{family}/{plan.name}"] = _extractor(chosen, extractor_sets, plan, neural=family == "neural")
    if "concatenation" in entry:
        values[f"{family}/concatenation"] = entry["concatenation"]
    for name, value in entry.get("values", {}).items():
        values[f"classification/{classifier}/{name}"] = value
    for extractor, fields in entry.get("extractor_values", {}).items():
        for plan in plans:
            if values[f"{family}/{plan.name}"] == extractor:
                values |= {
                    f"{family}/{plan.name}/{extractor}/{name}": value for name, value in fields.items()
                }
    return values


def _extractor(
    chosen: Mapping[str, str], sets: Mapping[str, Mapping[str, str]], plan: NodePlan, *, neural: bool
) -> str:
    """Returns the entry's extractor for a node, or the first of the other sets that supports its data."""
    possible = extractor_names(plan, trainable=neural)
    for candidates in (chosen, *sets.values()):
        name = candidates.get(plan.name, candidates.get(plan.kind.value))
        if name in possible:
            return name
    return possible[0] if possible else ""


def _concatenation_fits(entry: Mapping[str, Any], profile: DataProfile) -> bool:
    if "concatenation" not in entry:
        return True
    return entry["concatenation"] in concatenation_names(
        profile, trainable=is_neural(entry["classification"])
    )


def _unlisted(
    portfolio: Mapping[str, Any], profile: DataProfile, plans: tuple[NodePlan, ...]
) -> Iterator[dict[str, Value]]:
    sets, entries = portfolio["extractors"], list(portfolio["recipes"].values())
    listed = {entry["classification"] for entry in entries}
    for classifier in classifier_names(profile):
        if classifier not in listed:
            yield _values(
                {"classification": classifier, "extractors": "neural" if is_neural(classifier) else "linear"},
                sets,
                plans,
            )
    concatenations = {entry["concatenation"] for entry in entries if "concatenation" in entry}
    neural = [
        entry
        for entry in entries
        if "concatenation" in entry and entry["classification"] in classifier_names(profile)
    ]
    for concatenation in concatenation_names(profile, trainable=True):
        if concatenation not in concatenations and neural:
            yield _values(neural[0] | {"concatenation": concatenation}, sets, plans)
    mentioned = {
        name
        for extractors in [*sets.values(), *(entry.get("replace", {}) for entry in entries)]
        for name in extractors.values()
    }
    mentioned |= set(portfolio["sampled_only"])
    for extractor in sorted(set(names(Role.FEATURE_EXTRACTION)) - mentioned):
        yield from _with_extractor(extractor, entries, sets, profile, plans)


def _with_extractor(
    extractor: str,
    entries: list[dict[str, Any]],
    sets: Mapping[str, Mapping[str, str]],
    profile: DataProfile,
    plans: tuple[NodePlan, ...],
) -> Iterator[dict[str, Value]]:
    """Yields the first recipe whose classifier can use the extractor, with it in place."""
    for entry in entries:
        if entry["classification"] not in classifier_names(profile) or is_baseline(entry["classification"]):
            continue
        neural = is_neural(entry["classification"])
        nodes = [plan.name for plan in plans if extractor in extractor_names(plan, trainable=neural)]
        if nodes:
            yield _values(entry | {"replace": dict.fromkeys(nodes, extractor)}, sets, plans)
            return
