"""AutoFlow: searches machine-learning pipelines for a labelled table and exports one that serves raw rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoflow.builder import ModelBuilder
    from autoflow.errors import AutoFlowError
    from autoflow.serving.predictor import Predictor, load

__version__ = "0.1.0"
__all__ = ["AutoFlowError", "ModelBuilder", "Predictor", "load"]

_HOMES = {
    "AutoFlowError": "autoflow.errors",
    "ModelBuilder": "autoflow.builder",
    "Predictor": "autoflow.serving.predictor",
    "load": "autoflow.serving.predictor",
}


def __getattr__(name: str) -> Any:
    # `import autoflow` and `autoflow --help` must not pay for pandas
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'autoflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
