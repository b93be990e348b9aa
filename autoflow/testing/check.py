"""What a check is, how it fails, and the comparisons that all checks share."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoflow.components.base import Component
from autoflow.components.registry import name_of

_HEAVY = frozenset({"tensorflow", "keras", "keras_tuner", "sklearn", "lightgbm", "scipy", "torch", "jax"})


class ContractFailure(AssertionError):
    """A component breaks its contract; the message names component, check, expected and got."""


def expect(holds: bool, expected: str, got: object) -> None:
    """Raises ContractFailure unless the condition holds.

    Args:
        holds: the condition.
        expected: in plain words.
        got: what came instead.
    """
    if not holds:
        raise ContractFailure(f"expected {expected}, got {got}")


@dataclass(frozen=True)
class Check:
    """One named condition on a component class; call it with the class.

    Args:
        name: what holds, in snake case.
        run: raises ContractFailure (through `expect`) or anything else where the condition fails.
        applies_to: only classes under this one are checked.
    """

    name: str
    run: Callable[[Any], None]
    applies_to: type = Component

    def __str__(self) -> str:
        return self.name

    def __call__(self, component: type[Component]) -> None:
        """Runs the check; raises ContractFailure naming component and check."""
        try:
            self.run(component)
        except ContractFailure as failure:
            raise ContractFailure(
                f"component '{name_of(component)}', check '{self.name}': {failure}"
            ) from None
        except Exception as error:
            raise ContractFailure(
                f"component '{name_of(component)}', check '{self.name}': "
                f"expected no exception, got {type(error).__name__}: {error}"
            ) from error


def checks(*functions: Callable[[Any], None], applies_to: type = Component) -> tuple[Check, ...]:
    """Returns one check a function, under the function's name."""
    return tuple(Check(function.__name__, function, applies_to) for function in functions)


def expect_close(got: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Expects two arrays to agree to a tolerance, relative where values pass 1.

    Args:
        got: an array.
        expected: the array to compare with.
        tolerance: greatest allowed difference.
        what: what is compared, in plain words.
    """
    expect(got.shape == expected.shape, f"{what} of shape {expected.shape}", f"shape {got.shape}")
    wide, reference = got.astype(np.float64), expected.astype(np.float64)
    differences = np.abs(wide - reference) / np.maximum(1.0, np.abs(reference))
    worst = float(differences.max(initial=0.0))
    place = np.unravel_index(int(differences.argmax()), differences.shape) if differences.size else ()
    expect(
        worst <= tolerance,
        f"{what} to agree to {tolerance:g}",
        f"a difference of {worst:.3g} at {tuple(int(i) for i in place)}",
    )


def expect_finite(values: np.ndarray, what: str) -> None:
    """Expects numbers without NaN and infinity."""
    bad = int((~np.isfinite(values)).sum())
    expect(bad == 0, f"finite {what}", f"{bad} of {values.size} values that are not")


def pickled(value: Any) -> Any:
    """Returns the value after a trip through pickle; expects no class of a heavy library in it."""
    unpickler = _WatchingUnpickler(io.BytesIO(pickle.dumps(value)))
    copy = unpickler.load()
    heavy = sorted(unpickler.packages & _HEAVY)
    expect(not heavy, "a pickle of NumPy arrays and plain values", f"classes of {', '.join(heavy)}")
    return copy


class _WatchingUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.packages: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.packages.add(module.split(".", maxsplit=1)[0])
        return super().find_class(module, name)
