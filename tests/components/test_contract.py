"""Every registered component passes every check of its role; nothing here knows a component by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pytest

from autoflow.components import discovery
from autoflow.components.base import Component, FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.registry import Role, lookup, names
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.testing import Check, ContractFailure, check_component, contract_checks

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

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


# --- the checks themselves can fail ------------------------------------------------------------------


@dataclass(frozen=True)
class Doubled(FeatureExtractor):
    """Numbers times two, or something wrong in their place.

    Args:
        fault: what is wrong; empty for nothing.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})
    fault: str = ""

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        if cls().fault == "misnamed choice":
            return cls(fault=hp.Choice("error", ["misnamed choice"]))
        return cls()

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        if self.fault == "changes input":
            values[0] = 9.0
        noise = np.random.default_rng().normal() if self.fault == "random fit" else 0.0
        return FittedDoubled(self.fault, values.shape[1], noise)


@dataclass(frozen=True)
class FittedDoubled(FittedExtractor):
    fault: str
    num_columns: int
    noise: float

    @property
    def widths(self) -> tuple[int, ...]:
        return (1,) * (self.num_columns + (self.fault == "wrong widths"))

    def transform(self, values: np.ndarray) -> np.ndarray:
        clipped = np.clip(np.nan_to_num(values, nan=0.0), -10.0, 10.0)
        if self.fault == "not finite":
            clipped = np.where(np.isnan(values), np.inf, clipped)
        if self.fault == "rows mix":
            clipped = clipped - clipped.mean(axis=0)
        dtype = np.float64 if self.fault == "wrong type" else np.float32
        return (2.0 * clipped + self.noise).astype(dtype)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        import tensorflow as tf

        zero = tf.constant(0.0, tf.float64)
        clipped = tf.clip_by_value(tf.where(tf.math.is_nan(values), zero, values), -10.0, 10.0)
        factor = 3.0 if self.fault == "graph differs" else 2.0
        return tf.cast(factor * clipped + self.noise, tf.float32)

    def __getstate__(self) -> dict[str, object]:
        if self.fault == "heavy pickle":
            from sklearn.preprocessing import StandardScaler

            return self.__dict__ | {"scaler": StandardScaler()}
        return self.__dict__


def _broken(wrong: str) -> type[Component]:
    @dataclass(frozen=True)
    class Broken(Doubled):
        """Doubled with a fault from the start.

        Args:
            fault: what is wrong.
        """

        fault: str = wrong

    return Broken


FAULTS = {
    "misnamed choice": "declares_its_fields_only",
    "changes input": "leaves_its_input_alone",
    "random fit": "is_deterministic",
    "wrong widths": "prepares_finite_features_of_declared_widths",
    "not finite": "prepares_finite_features_of_declared_widths",
    "wrong type": "prepares_finite_features_of_declared_widths",
    "rows mix": "treats_rows_alone",
    "graph differs": "serves_what_it_trained_on",
    "heavy pickle": "pickles_plainly",
}


@pytest.mark.parametrize(("fault", "check_name"), FAULTS.items())
def test_a_broken_component_fails_the_check_of_its_fault(fault: str, check_name: str) -> None:
    (check,) = [check for check in contract_checks(Doubled) if check.name == check_name]
    check(Doubled)
    with pytest.raises(ContractFailure, match=f"component 'broken', check '{check_name}': expected .* got"):
        check(_broken(fault))


def test_check_component_runs_all_checks() -> None:
    check_component(lookup(Role.CONCATENATION, "plain_concat"))
    with pytest.raises(ContractFailure, match="is_registered"):
        check_component(Doubled)
