"""Compares exported models with TF-IDF and a tuned logistic regression on tables that are nothing but text.

    python benchmarks/text.py DATA_FOLDER --sets sms_spam languages ... [--seconds 300]

The reference keeps TF-IDF sparse and takes words (one and two) or characters (one to four); three-fold
cross-validation on the training rows chooses between them and the strength.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd
from runs import Table, evaluate, fit, machine, markdown, tables


def tfidf_regression(table: Table) -> tuple[float, str, float]:
    """Returns test log-loss, the choice, and the seconds that it took."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    started = time.perf_counter()
    (column,) = table.entry["columns"]["text"]
    train, test = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (table.train, table.test))
    labels, folds = train[table.label], StratifiedKFold(3, shuffle=True, random_state=0)
    found = {}
    for kind, runs in (("words", {"ngram_range": (1, 2)}), ("characters", {"ngram_range": (1, 4)})):
        for strength in (3.0, 30.0, 300.0):
            model = make_pipeline(
                TfidfVectorizer(
                    analyzer="word" if kind == "words" else "char",
                    min_df=2,
                    max_features=100_000,
                    sublinear_tf=True,
                    **runs,
                ),
                LogisticRegression(C=strength, max_iter=200),
            )
            scores = cross_val_predict(model, train[column], labels, cv=folds, method="predict_proba")
            found[log_loss(labels, scores)] = (f"{kind}, C = {strength:g}", model)
    choice, model = found[min(found)]
    model.fit(train[column], labels)
    loss = log_loss(test[table.label], model.predict_proba(test[column]), labels=model.classes_)
    return float(loss), choice, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=300)
    arguments = parser.parse_args()
    rows = []
    for table in tables(arguments.folder, arguments.sets):
        with tempfile.TemporaryDirectory() as scratch:
            run = fit(table, arguments.seconds, Path(scratch, "run"))
            if run.model is None:
                raise SystemExit(f"{table.name}: no model, exit code {run.code}\n{run.output}")
            scores = evaluate(run.model, table)
            size = sum(path.stat().st_size for path in run.model.rglob("*") if path.is_file()) / 1e6
        loss, choice, seconds = tfidf_regression(table)
        cells = [f"{scores['log_loss']:.4f}", f"{loss:.4f}", f"{scores['log_loss'] / loss:.3f}"]
        rows.append(
            [table.name, *cells, f"{scores['accuracy']:.4f}", choice, f"{seconds:.0f}", f"{size:.1f}"]
        )
        print(" ".join(rows[-1]), flush=True)
    print(f"\n{machine()}, {arguments.seconds:g} s, test log-loss\n")
    header = ["set", "AutoFlow", "TF-IDF, tuned LR", "ratio", "accuracy", "LR's choice", "LR's seconds", "MB"]
    print(markdown(header, rows))


if __name__ == "__main__":
    main()
