"""The contract of components as checks that run one by one, for AutoFlow's components and for yours.

A component that passes is found, searched, exported and served without another line of code. Everything here
is public and stable; what is checked, and on which rows, lies in the files beside this one.

    from autoflow.testing import check_component
    check_component(MyExtractor)
"""

from __future__ import annotations

from autoflow.components.base import Component
from autoflow.components.registry import Role, role_of
from autoflow.testing.check import Check, ContractFailure
from autoflow.testing.classification import CLASSIFICATION_CHECKS
from autoflow.testing.concatenation import CONCATENATION_CHECKS
from autoflow.testing.declaration import DECLARATION_CHECKS
from autoflow.testing.feature_extraction import FEATURE_EXTRACTION_CHECKS

__all__ = ["Check", "ContractFailure", "check_component", "contract_checks"]

_BY_ROLE = {
    Role.FEATURE_EXTRACTION: FEATURE_EXTRACTION_CHECKS,
    Role.CONCATENATION: CONCATENATION_CHECKS,
    Role.CLASSIFICATION: CLASSIFICATION_CHECKS,
}


def contract_checks(component: type[Component]) -> tuple[Check, ...]:
    """Returns the checks that hold for a component class, for parametrised tests.

    Args:
        component: a registered class.

    Raises:
        UsageError: the class has none of the three roles.
    """
    return (
        *DECLARATION_CHECKS,
        *(check for check in _BY_ROLE[role_of(component)] if issubclass(component, check.applies_to)),
    )


def check_component(component: type[Component]) -> None:
    """Runs all checks of a component; takes some seconds, most of them for importing TensorFlow.

    Args:
        component: a registered class.

    Raises:
        ContractFailure: the first check that fails; names component, check, what was expected and what came.
    """
    for check in contract_checks(component):
        check(component)
