"""Gradient-boosted trees by LightGBM, with defaults that stay calm on many classes and few rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from autoflow.components.base import FitContext, FittedClassifier, LabelledFeatures, MatrixClassifier
from autoflow.components.classification._classes import PresentClasses, Spread, softmax
from autoflow.components.classification._forest_graph import forest_sums
from autoflow.components.classification._tree_readers import read_lightgbm
from autoflow.components.classification._trees import Forest
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import lightgbm
    import tensorflow as tf

_MAX_CLASSES = 200
_MAX_CODES = 500
"""Every split by a set costs one or two bytes a code in the exported graph."""

_ROWS_PER_CODE = 10
"""Columns with fewer rows a code are split by thresholds: sets of rare categories learn the noise."""

_MIN_ROWS_OF_SET = 20
"""LightGBM's 100 is too many for small tables."""

_HISTOGRAMS_MB = 1024
"""Of histograms of leaves, which LightGBM keeps all unless told: 6.4 GB of 256 leaves of 17,000 features."""


@register
@dataclass(frozen=True)
class BoostedTrees(MatrixClassifier):
    """LightGBM (Ke et al. 2017), regularised, stopped early on validation log-loss.

    Args:
        learning_rate: shrinkage of each tree, 0.01 to 0.3.
        max_rounds: boosting rounds at most, 20 to 2,000; each grows one tree a class (one for two classes).
            A search sets it by the number of classes.
        num_leaves: leaves of a tree, 4 to 255.
        max_depth: depth of a tree, 2 to 16; bounds the steps of the exported graph.
        min_samples_leaf: training rows in a leaf at least, 1 or more.
        l2: penalty on squared leaf values, 0 or more.
        column_share: share of columns that a tree sees, 0 to 1.
        row_share: share of rows that a tree sees, 0 to 1.
        extra_random: whether each column tries one random threshold (Geurts et al. 2006).
        patience: rounds without improvement after which boosting stops.
        categorical_splits: whether columns of category codes are split by sets of them (Fisher 1958) and
            not by thresholds.
    """

    learning_rate: float = 0.06
    max_rounds: int = 600
    num_leaves: int = 16
    max_depth: int = 8
    min_samples_leaf: int = 20
    l2: float = 5.0
    column_share: float = 0.7
    row_share: float = 0.8
    extra_random: bool = False
    patience: int = 30
    categorical_splits: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws tree size, regularisation and sampling; smaller trees and fewer rounds for many classes."""
        many, large = profile.num_classes > 10, profile.num_rows >= 10_000
        leaf = int(np.clip(profile.num_rows // (100 * profile.num_classes), 5, 20))
        leaves = 31 if large else (16 if many or profile.num_rows >= 2000 else 8)
        rate = 0.15 if many else (0.1 if large and profile.num_classes > 2 else cls.learning_rate)
        return cls(
            learning_rate=hp.Float("learning_rate", 0.02, 0.3, sampling="log", default=rate),
            max_rounds=_max_rounds(profile.num_classes),
            num_leaves=hp.Int("num_leaves", 4, 64 if many else 256, sampling="log", default=leaves),
            max_depth=hp.Int("max_depth", 3, 16, default=cls.max_depth),
            min_samples_leaf=hp.Int("min_samples_leaf", 2, 100, sampling="log", default=leaf),
            l2=hp.Float("l2", 0.1, 100.0, sampling="log", default=1.0 if large else cls.l2),
            column_share=hp.Float("column_share", 0.3, 1.0, default=cls.column_share),
            row_share=hp.Float("row_share", 0.5, 1.0, default=cls.row_share),
            extra_random=hp.Boolean("extra_random", default=False),
            categorical_splits=hp.Boolean("categorical_splits", default=True) if _has_sets(profile) else True,
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Tells whether rounds end in time: each grows a tree a class, so 200 classes."""
        return profile.num_classes <= _MAX_CLASSES

    def fit(
        self, train: LabelledFeatures, validation: LabelledFeatures | None, context: FitContext
    ) -> FittedBoostedTrees:
        """Boosts until validation log-loss, the rounds or the time say stop, and keeps the best round."""
        import lightgbm

        classes = PresentClasses.of(train.labels, context.num_classes)
        if len(classes) == 1:
            return FittedBoostedTrees(_no_trees(), classes.spread(), 0)
        parameters = self._parameters(len(classes), context)
        codes = _split_by_sets(train) if self.categorical_splits else []
        data = lightgbm.Dataset(
            train.features, classes.positions(train.labels), params=parameters, categorical_feature=codes
        )
        held_out = []
        if validation is not None and context.iterations is None:
            places = classes.positions(validation.labels)
            known = places >= 0
            if known.any():
                held_out = [
                    lightgbm.Dataset(
                        validation.features[known],
                        places[known],
                        reference=data,
                        params=parameters,
                        categorical_feature=codes,
                    )
                ]
        rounds = context.iterations or (self.max_rounds if held_out else max(1, self.max_rounds // 4))
        watch = _Watch(rounds, self.patience, context)
        booster = lightgbm.train(
            parameters,
            data,
            num_boost_round=rounds,
            valid_sets=held_out,
            callbacks=[watch],
        )
        best = watch.best_round if held_out else booster.current_iteration()
        turns = 1 if len(classes) == 2 else len(classes)
        forest = read_lightgbm(booster.model_to_string(num_iteration=best, start_iteration=0), turns=turns)
        return FittedBoostedTrees(forest, classes.spread(), best)

    def _parameters(self, num_classes: int, context: FitContext) -> dict[str, Any]:
        objective = (
            {"objective": "binary"}
            if num_classes == 2
            else {"objective": "multiclass", "num_class": num_classes}
        )
        return objective | {
            "learning_rate": self.learning_rate,
            "num_leaves": min(self.num_leaves, 2**self.max_depth),
            "max_depth": self.max_depth,
            "min_data_in_leaf": self.min_samples_leaf,
            "min_sum_hessian_in_leaf": 1e-3,
            "lambda_l2": self.l2,
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1 if self.row_share < 1 else 0,
            "extra_trees": self.extra_random,
            "min_data_per_group": _MIN_ROWS_OF_SET,
            "max_bin": 255,
            "histogram_pool_size": min(_HISTOGRAMS_MB, context.memory_bytes / 4e6),
            "min_data_in_bin": 3,
            "use_missing": False,
            "feature_pre_filter": False,
            "num_threads": context.num_threads,
            "seed": context.seed,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }


class _Watch:
    """LightGBM callback: remembers the best round, and ends boosting by patience, time or hopelessness."""

    before_iteration = False
    order = 0

    def __init__(self, rounds: int, patience: int, context: FitContext) -> None:
        self.rounds, self.patience, self.context = rounds, patience, context
        self.best_loss, self.best_round = float("inf"), 1

    def __call__(self, env: lightgbm.callback.CallbackEnv) -> None:
        from lightgbm.callback import EarlyStopException

        done = env.iteration + 1
        stop = self.context.out_of_time()
        if env.evaluation_result_list:
            loss = float(env.evaluation_result_list[0][2])
            if loss < self.best_loss:
                self.best_loss, self.best_round = loss, done
            self.context.report(done / self.rounds, self.best_loss)
            stop = stop or done - self.best_round >= self.patience
        if stop:
            raise EarlyStopException(env.iteration, env.evaluation_result_list or [])


@dataclass(frozen=True, eq=False)
class FittedBoostedTrees(FittedClassifier):
    """Trees whose summed leaves are logits.

    Args:
        forest: one output a present class, or one in all for two classes.
        spread: to all classes.
        iterations: boosting rounds kept.
    """

    forest: Forest
    spread: Spread
    iterations: int

    def predict_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Walks the trees in NumPy."""
        logits = self.forest.sums(features)
        if len(self.spread.present) == 2:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        return self.spread(softmax(logits))

    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Asks the trees as TensorFlow ops."""
        import tensorflow as tf

        logits = forest_sums(self.forest, features)
        if len(self.spread.present) == 2:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=1)
        return self.spread.graph(tf.nn.softmax(logits))


def _split_by_sets(rows: LabelledFeatures) -> list[int]:
    """Returns the columns of codes with enough rows a code."""
    most = _most_codes(len(rows.labels))
    return [column for column in rows.categorical if rows.features[:, column].max() < most]


def _has_sets(profile: DataProfile) -> bool:
    most = _most_codes(profile.num_rows)
    return any(
        column.kind is ColumnKind.CATEGORICAL and column.num_distinct < most for column in profile.columns
    )


def _most_codes(num_rows: int) -> int:
    return min(_MAX_CODES, num_rows // _ROWS_PER_CODE)


def _max_rounds(num_classes: int) -> int:
    # a round grows one tree a class, and every tree costs serving time
    if num_classes == 2:
        return 1000
    return int(np.clip(5000 // num_classes, 40, 400))


def _no_trees() -> Forest:
    none = np.zeros(0, np.int64)
    return Forest.build(
        splits=np.zeros(1, np.int64),
        feature=none,
        threshold=none.astype(np.float64),
        left=none,
        right=none,
        values=np.zeros((1, 1)),
    )
