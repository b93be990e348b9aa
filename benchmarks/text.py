"""Compares exported models with TF-IDF and a tuned logistic regression on tables that are nothing but text.

    python benchmarks/accuracy.py DATA_FOLDER --sets sms_spam ... --seconds 300 --results accuracy.jsonl
    python benchmarks/text.py DATA_FOLDER accuracy.jsonl

The first command measures AutoFlow; this script sets the reference beside its lines for text tables. The
reference keeps TF-IDF sparse and takes words (one and two) or characters (one to four); three-fold
cross-validation on the training rows chooses between them and the strength.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas as pd
from runs import Table, machine, markdown, tables


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
    parser.add_argument("results", type=Path, help="what benchmarks/accuracy.py wrote")
    arguments = parser.parse_args()
    measured = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()]
    by_set = {line["set"]: line for line in measured}
    rows = []
    for table in tables(arguments.folder, list(by_set)):
        if table.kinds != {"text"}:
            continue
        autoflow = by_set[table.name]
        loss, choice, seconds = tfidf_regression(table)
        ratio = autoflow["log_loss"] / loss
        cells = [f"{autoflow['log_loss']:.4f}", f"{loss:.4f}", f"{ratio:.3f}", f"{autoflow['accuracy']:.4f}"]
        rows.append([table.name, *cells, choice, f"{seconds:.0f}", f"{autoflow['mb']:.1f}"])
        print(" ".join(rows[-1]), flush=True)
    print(f"\n{machine()}, test log-loss; AutoFlow had {measured[0]['budget_s']:g} s\n")
    header = ["set", "AutoFlow", "TF-IDF, tuned LR", "ratio", "accuracy", "LR's choice", "LR's seconds", "MB"]
    print(markdown(header, rows))


if __name__ == "__main__":
    main()
