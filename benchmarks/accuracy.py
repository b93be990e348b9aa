"""Compares exported models with LightGBM's defaults, side by side on the same cores, and with peers' figures.

    python benchmarks/accuracy.py DATA_FOLDER [--seconds 60] [--sets adult ...] [--peers PEERS.jsonl]
                                  [--results FILE.jsonl]

LightGBM gets numbers as they are and every other column as ordinal codes of its training values. Peers'
figures come from a file of earlier runs (one JSON object a line: peer, dataset, log_loss, ok).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from runs import Table, evaluate, fit, machine, markdown, tables


def lightgbm_defaults(table: Table) -> float:
    """Returns the test log-loss of `LGBMClassifier()` on ordinal-coded columns."""
    import lightgbm
    from sklearn.metrics import log_loss
    from sklearn.preprocessing import OrdinalEncoder

    train, test = pd.read_csv(table.train), pd.read_csv(table.test)
    labels, truth = train.pop(table.label).astype(str), test.pop(table.label).astype(str)
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


def best_peer(peers: Path | None, name: str) -> tuple[str, float]:
    """Returns the peer with the lowest log-loss on a set; LightGBM's own row is left out."""
    if peers is None:
        return "", float("nan")
    rows = [json.loads(line) for line in peers.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["dataset"] == name and row["ok"] and row["peer"] != "lightgbm-default"]
    best = min(rows, key=lambda row: row["log_loss"], default=None)
    return (best["peer"], best["log_loss"]) if best else ("", float("nan"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--results", type=Path, help="append one JSON line a set")
    arguments = parser.parse_args()
    rows, wins = [], 0
    for table in tables(arguments.folder, arguments.sets):
        with tempfile.TemporaryDirectory() as scratch:
            run = fit(table, arguments.seconds, Path(scratch, "run"))
            if run.model is None:
                print(f"{table.name}: no model, exit code {run.code}\n{run.output}", flush=True)
                continue
            scores = evaluate(run.model, table)
            manifest = json.loads((run.model / "assets.extra/autoflow.json").read_text(encoding="utf-8"))
            megabytes = sum(file.stat().st_size for file in run.model.rglob("*") if file.is_file()) / 1e6
        reference = lightgbm_defaults(table)
        peer, peer_loss = best_peer(arguments.peers, table.name)
        baseline = table.entry["baseline"]
        untuned = baseline[baseline["best"]]["log_loss"]
        wins += scores["log_loss"] < reference
        winner = manifest["recipes"][0]["spec"]["classification"]["component"]
        record = {
            "set": table.name, "budget_s": arguments.seconds, "log_loss": scores["log_loss"], "accuracy": scores["accuracy"],
            "lightgbm_default": reference, "best_peer": peer, "best_peer_log_loss": peer_loss, "untuned": untuned,
            "wall_s": run.seconds, "mb": megabytes, "winner": winner,
        }  # fmt: skip
        if arguments.results:
            with arguments.results.open("a") as file:
                file.write(json.dumps(record) + "\n")
        rows.append(
            [table.name, f"{scores['log_loss']:.4f}", f"{reference:.4f}", f"{scores['log_loss'] / reference:.3f}", f"{untuned:.4f}",
             f"{peer_loss:.4f} {peer}", f"{scores['accuracy']:.4f}", winner, f"{megabytes:.1f}", f"{run.seconds / arguments.seconds:.3f}"]
        )  # fmt: skip
        print(" ".join(rows[-1]), flush=True)
    header = [
        "set",
        "AutoFlow",
        "LightGBM defaults",
        "ratio",
        "untuned",
        "best peer",
        "accuracy",
        "winner",
        "MB",
        "wall / budget",
    ]
    print(f"\n{machine()}, {arguments.seconds:g} s, test log-loss\n")
    print(markdown(header, rows))
    print(f"\nAutoFlow beats LightGBM's defaults on {wins} of {len(rows)} sets")


if __name__ == "__main__":
    main()
