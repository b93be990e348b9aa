"""Checks of what every component declares: dataclass, docstring, search space, JSON."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from autoflow.components.base import Component, FeatureExtractor
from autoflow.components.registry import from_json, lookup, name_of, role_of, to_json
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.testing.check import checks, expect

_PLAIN = (bool, int, float, str, tuple)
_KINDS = tuple(kind for kind in ColumnKind if kind is not ColumnKind.ROW)


def profiles(component: type[Component]) -> tuple[DataProfile, ...]:
    """Returns profiles of a small, a usual and a wide table; extractors get their own column kinds."""
    kinds = tuple(sorted(component.accepts)) if issubclass(component, FeatureExtractor) else _KINDS
    return tuple(
        DataProfile(num_rows, counts, tuple(_column(kinds, place, distinct) for place in range(num_columns)))
        for num_rows, counts, num_columns, distinct in (
            (20, (12, 8), 1, 5),
            (5_000, (3_000, 1_500, 500), 7, 120),
            (200_000, (10_000,) * 20, 600, 20_000),
        )
    )


def _column(kinds: tuple[ColumnKind, ...], place: int, distinct: int) -> ColumnProfile:
    kind = kinds[place % len(kinds)]
    words = kind in (ColumnKind.TEXT, ColumnKind.CATEGORICAL)
    missing = 0.1 if place % 2 else 0.0
    return ColumnProfile(f"column {place}", kind, distinct, missing, 30.0 if words else 0.0)


@cache
def draws(component: type[Component], count: int = 6) -> tuple[Component, ...]:
    """Returns random components from the search space, the same in every process."""
    import keras_tuner

    drawn = []
    for number in range(count):
        profile = profiles(component)[number % 3]
        hp = keras_tuner.HyperParameters()
        component.sample(hp, profile)
        declared: set[str] = set()
        while new := [choice for choice in hp.space if choice.name not in declared]:
            for choice in new:  # a value may open further choices: declare until nothing is new
                declared.add(choice.name)
                hp.values[choice.name] = choice.random_sample(seed=number * 101 + len(declared))
            component.sample(hp, profile)
        drawn.append(component.sample(hp, profile))
    return tuple(drawn)


def is_a_frozen_dataclass(component: type[Component]) -> None:
    """Fields are the hyperparameters, and nobody changes them."""
    frozen = is_dataclass(component) and component.__dataclass_params__.frozen  # type: ignore[attr-defined]
    expect(frozen, "@dataclass(frozen=True)", component)


def is_registered(component: type[Component]) -> None:
    """The registry answers with the class."""
    found = lookup(role_of(component), name_of(component))
    expect(found is component, "the registry to answer with this very class", found)


def has_a_docstring_that_names_its_fields(component: type[Component]) -> None:
    """The docstring is what users read about hyperparameters."""
    text = component.__doc__ or ""
    generated = text.startswith(f"{component.__name__}(")
    expect(bool(text.strip()) and not generated, "a docstring", repr(text[:60]))
    own = [name for name in inspect.get_annotations(component) if name in _field_names(component)]
    missing = [name for name in own if f"{name}:" not in text]
    expect(not missing, "every hyperparameter under Args of the docstring", f"nothing about {missing}")


def defaults_construct_with_plain_values(component: type[Component]) -> None:
    """The defaults are the first trial."""
    value = component()
    for field in fields(value):
        got = getattr(value, field.name)
        expect(isinstance(got, _PLAIN), f"{field.name} of type bool, int, float, str or tuple", repr(got))


def compares_and_hashes_by_value(component: type[Component]) -> None:
    """Equal hyperparameters are one component, in caches and in sets."""
    expect(component() == component(), "two components with defaults to be equal", component())
    expect(hash(component()) == hash(component()), "equal components to have equal hashes", component())


def samples_defaults(component: type[Component]) -> None:
    """A fresh HyperParameters gives the defaults of the space, every time the same."""
    import keras_tuner

    for profile in profiles(component):
        first = component.sample(keras_tuner.HyperParameters(), profile)
        second = component.sample(keras_tuner.HyperParameters(), profile)
        expect(type(first) is component, f"sample to return a {component.__name__}", type(first))
        expect(first == second, f"the same component again: {first}", second)


def declares_its_fields_only(component: type[Component]) -> None:
    """Names in the search space are field names, and the values drawn arrive in the fields."""
    import keras_tuner

    for profile in profiles(component):
        hp = keras_tuner.HyperParameters()
        value = component.sample(hp, profile)
        for choice in hp.space:
            known = choice.name in _field_names(component)
            expect(known, f"names of fields {sorted(_field_names(component))}", choice.name)
            got = getattr(value, choice.name)
            expect(got == hp.values[choice.name], f"{choice.name}={hp.values[choice.name]!r}", repr(got))


def random_draws_are_valid(component: type[Component]) -> None:
    """Any point of the space is a component whose fields have the types of the defaults."""
    default = component()
    for drawn in draws(component):
        for field in fields(default):
            wanted, got = getattr(default, field.name), getattr(drawn, field.name)
            expect(
                _same_type(wanted, got),
                f"{field.name} of type {type(wanted).__name__}",
                f"{got!r} in {drawn}",
            )


def goes_to_json_and_back(component: type[Component]) -> None:
    """The recipe in the manifest rebuilds the component."""
    for value in (component(), *draws(component)):
        text = json.dumps(to_json(value), allow_nan=False)
        back = from_json(role_of(component), json.loads(text))
        expect(back == value, f"{value} from its JSON", back)


def supports_answers_for_any_profile(component: type[Component]) -> None:
    """`supports` is asked for every table."""
    for profile in profiles(component):
        got = component.supports(profile)
        expect(isinstance(got, bool | np.bool_), "True or False from supports", repr(got))


def _field_names(component: type[Component]) -> set[str]:
    return {field.name for field in fields(component)}


def _same_type(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, float):
        return isinstance(got, float | int) and not isinstance(got, bool)
    return type(got) is type(wanted)


DECLARATION_CHECKS = checks(
    is_a_frozen_dataclass,
    is_registered,
    has_a_docstring_that_names_its_fields,
    defaults_construct_with_plain_values,
    compares_and_hashes_by_value,
    samples_defaults,
    declares_its_fields_only,
    random_draws_are_valid,
    goes_to_json_and_back,
    supports_answers_for_any_profile,
)
