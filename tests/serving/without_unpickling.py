"""Predicts, embeds and evaluates with everything made to raise that could run code from a file.

`python without_unpickling.py MODEL DATA`; prints the number of rows, and how many of three attempts were
refused. A test reads what it prints.
"""

from __future__ import annotations

import builtins
import pickle
import socket
import sys
from typing import Any


def _refusing(name: str) -> Any:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError(f"{name} was called")

    return refuse


def _refuse_all() -> None:
    """Makes the loaders raise; libraries that unpickle reach one of them."""
    import _pickle

    import joblib
    import keras
    import numpy as np
    import pandas as pd
    import ray.cloudpickle as cloudpickle
    import yaml

    for module in (pickle, _pickle, cloudpickle):
        for name in ("load", "loads", "Unpickler"):
            setattr(module, name, _refusing(f"{module.__name__}.{name}"))
    joblib.load = _refusing("joblib.load")
    pd.read_pickle = _refusing("pandas.read_pickle")
    for name in ("load", "unsafe_load", "full_load", "safe_load"):
        setattr(yaml, name, _refusing(f"yaml.{name}"))
    keras.models.load_model = keras.saving.load_model = _refusing("keras load_model")
    plain = np.load

    def load(*args: Any, allow_pickle: bool = False, **options: Any) -> Any:
        if allow_pickle:
            raise AssertionError("np.load(allow_pickle=True) was called")
        return plain(*args, **options)

    np.load = load
    socket.socket.connect = _refusing("a connection")  # type: ignore[method-assign]


def _num_refused() -> int:
    """Returns how many attempts raise: none of them may reach what it calls."""
    import joblib
    import numpy as np

    attempts = (
        lambda: pickle.loads(b"N."),
        lambda: joblib.load("x"),
        lambda: np.load("x", allow_pickle=True),
    )
    refused = 0
    for attempt in attempts:
        try:
            attempt()
        except AssertionError as error:
            refused += str(error).endswith("was called")
    return refused


def main(model: str, data: str) -> None:
    from autoflow.serving.predictor import load

    import_everything(model, data)
    _refuse_all()
    exec_, eval_ = builtins.exec, builtins.eval
    builtins.exec, builtins.eval = _refusing("exec"), _refusing("eval")
    predictor = load(model)
    table = predictor.predict_table(data)
    predictor.embed(data)
    scores = predictor.evaluate(data)
    builtins.exec, builtins.eval = exec_, eval_
    assert scores.num_rows == len(table)
    print(len(table), _num_refused())


def import_everything(model: str, data: str) -> None:
    """Predicts once, as imports may use `exec` on the code of libraries."""
    from autoflow.serving.predictor import load

    load(model).evaluate(data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
