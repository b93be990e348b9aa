"""Compares exported models with LightGBM's defaults, side by side on the same cores, and with peers' figures.

    python benchmarks/accuracy.py DATA_FOLDER [--seconds 60] [--sets adult ...] [--peers PEERS.jsonl]
                                  [--results FILE.jsonl] [--keep FOLDER]

LightGBM gets numbers as they are, pictures as 28 x 28 grey pixels, every other column as ordinal codes of its
training values. Peers' figures come from a file of earlier runs (one JSON object a line: peer, dataset,
log_loss, ok). `--keep` leaves the run folders, one a set, which `portfolio.py` reads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from runs import Table, busyness, evaluate, fit, machine, markdown, noted_model, tables

HEADER = [
    "set",
    "AutoFlow",
    "LightGBM defaults",
    "ratio",
    "untuned",
    "best peer",
    "accuracy",
    "calibration error",
    "members of trials",
    "row ms",
    "MB",
    "wall / budget",
]


def lightgbm_defaults(table: Table) -> float:
    """Returns the test log-loss of `LGBMClassifier()` on ordinal-coded columns."""
    import lightgbm
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import OrdinalEncoder

    train, test = pd.read_csv(table.train), pd.read_csv(table.test)
    labels, truth = train.pop(table.label).astype(str), test.pop(table.label).astype(str)
    for name in table.entry["columns"].get("image", []):
        train, test = (
            pd.concat([part.drop(columns=name), grey_pixels(table.train.parent, part[name])], axis=1)
            for part in (train, test)
        )
    strings = [name for name in train if not pd.api.types.is_numeric_dtype(train[name])]
    if strings:
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        train[strings] = encoder.fit_transform(train[strings].astype(str))
        test[strings] = encoder.transform(test[strings].astype(str))
    train.columns = test.columns = [f"f{position}" for position in range(train.shape[1])]
    model = lightgbm.LGBMClassifier(verbose=-1).fit(train.astype(float), labels)
    probabilities = np.clip(model.predict_proba(test.astype(float)), 1e-15, 1)
    return float(
        log_loss(truth, probabilities / probabilities.sum(axis=1, keepdims=True), labels=model.classes_)
    )


def grey_pixels(folder: Path, names: pd.Series) -> pd.DataFrame:
    """Returns the pixels of pictures, a column each."""
    import tensorflow as tf

    rows = []
    for name in names:
        picture = tf.io.decode_image((folder / name).read_bytes(), channels=1, expand_animations=False)
        rows.append(tf.image.resize(picture, [28, 28], antialias=True).numpy().ravel())
    return pd.DataFrame(np.stack(rows), index=names.index).add_prefix("pixel ")


def best_peer(peers: Path | None, name: str) -> tuple[str, float]:
    """Returns the peer with the lowest log-loss on a set; LightGBM's own row is left out."""
    if peers is None:
        return "", float("nan")
    rows = [json.loads(line) for line in peers.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["dataset"] == name and row["ok"] and row["peer"] != "lightgbm-default"]
    best = min(rows, key=lambda row: row["log_loss"], default=None)
    return (best["peer"], best["log_loss"]) if best else ("", float("nan"))


def measure(table: Table, seconds: float, peers: Path | None, keep: Path | None) -> dict[str, Any]:
    """Returns one row of the table: a run of AutoFlow and one of LightGBM's defaults, one after the other."""
    with contextlib.ExitStack() as stack:
        folder = (keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))) / table.name
        run = fit(table, seconds, folder)
        if run.model is None:
            raise SystemExit(f"{table.name}: no model, exit code {run.code}\n{run.output}")
        scores = evaluate(run.model, table)
        noted, busy = noted_model(folder), busyness(folder, seconds)
        manifest = json.loads((run.model / "assets.extra/autoflow.json").read_text(encoding="utf-8"))
    peer, peer_loss = best_peer(peers, table.name)
    baseline = table.entry["baseline"]
    members = [recipe["spec"]["classification"]["component"] for recipe in manifest["recipes"]]
    return {
        "set": table.name,
        "budget_s": seconds,
        "log_loss": scores["log_loss"],
        "accuracy": scores["accuracy"],
        "calibration_error": scores["calibration_error"],
        "num_test_rows": scores["num_rows"],
        "lightgbm_default": lightgbm_defaults(table),
        "untuned": baseline[baseline["best"]]["log_loss"],
        "best_peer": peer,
        "best_peer_log_loss": peer_loss,
        "members": members,
        "refitted": noted["refitted"],
        "num_trials": noted["num_trials"],
        "row_ms": noted["verification"]["row_ms"],
        "mb": noted["num_bytes"] / 1e6,
        "wall_s": run.seconds,
        "peak_gib": run.peak_gib,
    } | busy


def shown(row: dict[str, Any]) -> list[str]:
    """Returns the cells of a row in the order of HEADER."""
    return [
        row["set"],
        f"{row['log_loss']:.4f}",
        f"{row['lightgbm_default']:.4f}",
        f"{row['log_loss'] / row['lightgbm_default']:.3f}",
        f"{row['untuned']:.4f}",
        f"{row['best_peer_log_loss']:.4f} {row['best_peer']}" if row["best_peer"] else "",
        f"{row['accuracy']:.4f}",
        f"{row['calibration_error']:.3f}",
        f"{len(row['members'])} of {row['num_trials']}",
        f"{row['row_ms']:.2f}",
        f"{row['mb']:.1f}",
        f"{row['wall_s'] / row['budget_s']:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--results", type=Path, help="append one JSON line a set")
    parser.add_argument("--keep", type=Path, help="folder in which the run folders stay, one a set")
    arguments = parser.parse_args()
    rows = []
    for table in tables(arguments.folder, arguments.sets):
        rows.append(measure(table, arguments.seconds, arguments.peers, arguments.keep))
        print(" ".join(shown(rows[-1])), flush=True)
        if arguments.results:
            with arguments.results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(f"\n{machine()}, {arguments.seconds:g} s, test log-loss\n")
    print(markdown(HEADER, [shown(row) for row in rows]))
    lost = [row["set"] for row in rows if not row["log_loss"] < row["lightgbm_default"]]
    print(
        f"\nAutoFlow beats LightGBM's defaults on {len(rows) - len(lost)} of {len(rows)} sets; not on {lost}"
    )


if __name__ == "__main__":
    main()
