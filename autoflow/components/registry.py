"""The component repository: registration and look-up by role and name.

A component registers itself when its file is imported; `discovery` imports the files. Nothing here knows a
component by name.
"""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

from autoflow.components.base import Classifier, Component, Concatenation, FeatureExtractor
from autoflow.errors import UsageError, near_names


class Role(StrEnum):
    """What a component does in a pipeline."""

    FEATURE_EXTRACTION = "feature_extraction"
    CONCATENATION = "concatenation"
    CLASSIFICATION = "classification"


_BASES: dict[Role, type[Component]] = {
    Role.FEATURE_EXTRACTION: FeatureExtractor,  # type: ignore[type-abstract]
    Role.CONCATENATION: Concatenation,  # type: ignore[type-abstract]
    Role.CLASSIFICATION: Classifier,  # type: ignore[type-abstract]
}
_components: dict[Role, dict[str, type[Component]]] = {role: {} for role in Role}

AnyComponent = TypeVar("AnyComponent", bound=type[Component])


def register(component: AnyComponent) -> AnyComponent:
    """Class decorator that adds a component to the repository under its class name in snake case.

    The class must be a frozen dataclass under one of the three role base classes.

    Raises:
        UsageError: where the class is no component, or the name is taken in its role by another class.
    """
    if not (is_dataclass(component) and component.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise UsageError(
            f"component {component.__name__} must be a frozen dataclass: "
            "put @dataclass(frozen=True) under @register"
        )
    role = role_of(component)
    name = _snake_case(component.__name__)
    present = _components[role].get(name)
    if present is not None and _place(present) != _place(component):
        raise UsageError(
            f"{role} component '{name}' is defined twice: in {_place(present)} and in {_place(component)}; "
            "rename one of the classes"
        )
    _components[role][name] = component
    return component


def role_of(component: type[Component]) -> Role:
    """Returns the role of a component class; raises UsageError for a class outside the three roles."""
    for role, base in _BASES.items():
        if issubclass(component, base):
            return role
    raise UsageError(
        f"{component.__name__} must derive from one of "
        + ", ".join(base.__name__ for base in _BASES.values())
    )


def name_of(component: Component | type[Component]) -> str:
    """Returns the public name of a component or component class."""
    return _snake_case((component if isinstance(component, type) else type(component)).__name__)


def names(role: Role) -> list[str]:
    """Returns the registered names of a role, sorted."""
    return sorted(_components[role])


def registered() -> frozenset[type[Component]]:
    """Returns the registered component classes of all roles."""
    return frozenset(component for group in _components.values() for component in group.values())


def lookup(role: Role, name: str) -> type[Component]:
    """Returns the component class; raises UsageError with near names for an unknown one."""
    try:
        return _components[role][name]
    except KeyError:
        raise UsageError(f"no {role} component is called '{name}'; {near_names(name, names(role))}") from None


def to_json(component: Component) -> dict[str, Any]:
    """Returns the name and hyperparameters of a component as JSON values."""
    values = {field.name: getattr(component, field.name) for field in fields(component)}
    return {"component": name_of(component)} | {
        key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
    }


def from_json(role: Role, value: dict[str, Any]) -> Component:
    """Returns the component that `to_json` described; raises UsageError for unknown names or fields."""
    component = lookup(role, value["component"])
    known = [field.name for field in fields(component)]
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items() if key != "component"}
    for key in given:
        if key not in known:
            raise UsageError(
                f"{role} component '{value['component']}' has no hyperparameter '{key}'; "
                + near_names(key, known)
            )
    return component(**given)


def _snake_case(name: str) -> str:
    letters = []
    for position, letter in enumerate(name):
        starts_word = letter.isupper() and position > 0
        follows_lower = starts_word and not name[position - 1].isupper()
        before_lower = starts_word and position + 1 < len(name) and name[position + 1].islower()
        letters.append(("_" if follows_lower or before_lower else "") + letter.lower())
    return "".join(letters)


def _place(component: type[Component]) -> str:
    try:
        return f"{inspect.getsourcefile(component)}:{component.__qualname__}"
    except TypeError:  # a class made in an interactive session has no file
        return f"{component.__module__}:{component.__qualname__}"
