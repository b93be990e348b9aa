"""The component repository as text: what each component is for and which hyperparameters it has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from autoflow.components.base import Component, FeatureExtractor
from autoflow.components.discovery import ComponentFile, discover
from autoflow.components.registry import Role, lookup, names
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.errors import UsageError, near_names

if TYPE_CHECKING:
    import keras_tuner


@dataclass(frozen=True)
class CatalogueEntry:
    """One registered component.

    Args:
        name: public name.
        role: what it does in a pipeline.
        reads: what a feature extractor takes, in plain words; empty for other roles.
        summary: first line of its docstring.
        hyperparameters: one text each: name, range, default.
    """

    name: str
    role: Role
    reads: str
    summary: str
    hyperparameters: tuple[str, ...]


def catalogue(role: str | None = None, files: tuple[ComponentFile, ...] = ()) -> list[CatalogueEntry]:
    """Returns the registered components, of one role or of all.

    Args:
        role: `feature_extraction`, `concatenation` or `classification`.
        files: the user's own component files.

    Raises:
        UsageError: unknown role, or a component file that raises.
    """
    roles = [each.value for each in Role]
    if role is not None and role not in roles:
        raise UsageError(f"no role is called '{role}'; {near_names(role, roles)}")
    discover(files)
    return [
        _entry(each, name, lookup(each, name))
        for each in Role
        if role in (None, each.value)
        for name in names(each)
    ]


def _entry(role: Role, name: str, component: type[Component]) -> CatalogueEntry:
    kinds = sorted(component.accepts) if issubclass(component, FeatureExtractor) else []
    reads = "whole rows" if ColumnKind.ROW in kinds else f"{', '.join(kinds)} columns" if kinds else ""
    summary = (inspect.getdoc(component) or "").split("\n", 1)[0]
    return CatalogueEntry(name, role, reads, summary, tuple(_hyperparameters(component, kinds)))


def _hyperparameters(component: type[Component], kinds: list[ColumnKind]) -> Iterator[str]:
    searched = {declared.name: declared for declared in _declared(component, kinds).space}
    for field in fields(component):
        declared = searched.get(field.name)
        searched_in = _range(declared) if declared is not None else "fixed"
        yield f"{field.name}: {searched_in}, default {field.default!r}"


def _declared(component: type[Component], kinds: list[ColumnKind]) -> keras_tuner.HyperParameters:
    """Returns the space of a component for a table of middling size with columns that it accepts."""
    from autoflow.serving.quiet import import_tensorflow

    import_tensorflow()
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    columns = tuple(
        ColumnProfile(f"{kind.value}_{number}", kind, 30, 0.05, 40.0)
        for kind in kinds or list(ColumnKind)
        for number in range(2)
    )
    component.sample(hp, DataProfile(10_000, (6_000, 4_000), columns))
    return hp


def _range(declared: Any) -> str:
    low, high = getattr(declared, "min_value", None), getattr(declared, "max_value", None)
    if low is not None:
        scale = " (log)" if declared.sampling == "log" else ""
        return f"{low:g} to {high:g}{scale}"
    if isinstance(declared.default, bool):
        return "True or False"
    return "one of " + ", ".join(repr(value) for value in declared.values)
