"""Every registered component passes every check of its role; nothing here knows a component by name."""

from __future__ import annotations

import pytest

from autoflow.components import discovery
from autoflow.components.base import Component
from autoflow.components.registry import Role, lookup, names
from autoflow.testing import Check, contract_checks

discovery.discover()

CASES = [
    pytest.param(component, check, id=f"{role}-{name}-{check}")
    for role in Role
    for name in names(role)
    for component in [lookup(role, name)]
    for check in contract_checks(component)
]


@pytest.mark.parametrize(("component", "check"), CASES)
def test_component_keeps_its_contract(component: type[Component], check: Check) -> None:
    check(component)


@pytest.mark.parametrize("role", Role)
def test_every_role_has_components(role: Role) -> None:
    assert len(names(role)) >= 4
