"""Prints how much a choice among many quick models flatters, and what `cross_chosen` says instead.

    python benchmarks/choices.py DATA_FOLDER --sets adult covertype flights --rows 200 --models 150 --seeds 12

For each set and seed so many rows are drawn; models of scikit-learn on random columns, with random settings,
are cross-validated and chosen among as a search does at its end. `fresh` is the log-loss of that very choice,
fold by fold, on rows that were not drawn.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from runs import Table, markdown, tables
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from autoflow import metrics
from autoflow.data.split import make_choice_folds, make_folds
from autoflow.pipeline.temperature import fit_temperature, tempered
from autoflow.search.cross_choice import cross_chosen
from autoflow.search.ensemble import Candidate, select

FRESH_ROWS = 4000
FEWEST_OF_CLASS = 5


def numbers_of(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Returns standardised codes and numbers of all rows, and class codes."""
    frame = pd.concat([pd.read_csv(path) for path in (table.train, table.test)], ignore_index=True)
    labels = pd.factorize(frame.pop(table.label))[0]
    columns = [
        values.fillna(values.median()) if pd.api.types.is_numeric_dtype(values) else pd.factorize(values)[0]
        for _, values in frame.items()
    ]
    features = np.stack(columns, axis=1).astype(float)
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9), labels


def model(number: int, random: np.random.Generator) -> object:
    """Returns one of four models with random settings."""
    strength, share, leaf = random.uniform(-3, 1), random.random(), random.random()
    return (
        LogisticRegression(C=10**strength, max_iter=60),
        GaussianNB(var_smoothing=10 ** (-2 * share)),
        KNeighborsClassifier(int(5 + 60 * share)),
        DecisionTreeClassifier(
            max_depth=int(2 + 5 * share), min_samples_leaf=int(5 + 20 * leaf), random_state=number
        ),
    )[number % 4]


def figures(
    features: np.ndarray, labels: np.ndarray, num_rows: int, num_models: int, seed: int
) -> list[float]:
    """Returns the log-loss of the choice on the rows that made it, cross-fitted, and on fresh rows."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    common = np.bincount(labels[order[:num_rows]], minlength=labels.max() + 1) >= FEWEST_OF_CLASS
    codes = np.cumsum(common) - 1
    drawn, fresh = (
        rows[common[labels[rows]]] for rows in (order[:num_rows], order[num_rows : num_rows + FRESH_ROWS])
    )
    known, truth = codes[labels[drawn]], codes[labels[fresh]]
    folds = make_folds(known, feature_keys=np.arange(len(known)), seed=seed, share=None)
    held_out = known[np.concatenate([fold.validation for fold in folds])]
    trials: dict[int, np.ndarray] = {}
    answers: dict[int, list[np.ndarray]] = {}
    for number in range(num_models):
        columns = random.choice(features.shape[1], random.integers(3, features.shape[1] + 1), replace=False)
        untrained, parts, answers[number] = model(number, random), [], []
        for fold in folds:
            fitted = untrained.fit(features[drawn[fold.train]][:, columns], known[fold.train])
            for rows, kept in ((drawn[fold.validation], parts), (fresh, answers[number])):
                raw = fitted.predict_proba(features[rows][:, columns])
                kept.append(np.float32(0.98 * raw + 0.02 / raw.shape[1]))
        trials[number] = np.concatenate(parts)
    ranking = sorted(trials, key=lambda number: metrics.score("log_loss", held_out, trials[number]))
    best = [Candidate(number, trials[number]) for number in ranking[:25]]
    weights = select(best, held_out, metric="log_loss", max_members=5).weights
    mean = np.float32(sum(weight * trials[number] for number, weight in weights.items()))
    temperature = fit_temperature(mean, held_out, seed=seed)
    choice_folds = make_choice_folds(
        held_out, feature_keys=np.arange(len(held_out)), groups=None, moments=None, seed=seed + 1
    )
    again = cross_chosen(
        trials,
        dict.fromkeys(trials),
        held_out,
        choice_folds,
        metric="log_loss",
        max_members=5,
        of_each=25,
        seed=seed,
    )
    own = held_out[np.concatenate([fold.validation for fold in choice_folds])]
    means = (
        np.float32(sum(weight * answers[number][place] for number, weight in weights.items()))
        for place in range(len(folds))
    )
    worth = [metrics.score("log_loss", truth, tempered(each, temperature)) for each in means]
    return [
        metrics.score("log_loss", held_out, tempered(mean, temperature)),
        metrics.score("log_loss", own, again),
        float(np.mean(worth)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--models", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=12)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the models that are no good
    found, cells = [], []
    for table in tables(arguments.folder, arguments.sets):
        features, labels = numbers_of(table)
        for seed in range(arguments.seeds):
            found.append(figures(features, labels, arguments.rows, arguments.models, seed))
            cells.append([table.name, str(seed), *(f"{figure:.4f}" for figure in found[-1])])
    print(markdown(["set", "seed", "validation", "cross_chosen", "fresh"], cells))
    losses = np.array(found)
    for place, name in enumerate(("validation", "cross_chosen")):
        gaps = losses[:, place] - losses[:, 2]
        print(f"\n{name} less fresh: {gaps.mean():+.4f}, standard error {gaps.std() / len(gaps) ** 0.5:.4f}")


if __name__ == "__main__":
    main()
