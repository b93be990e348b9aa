"""A random forest, bounded in size so that it can be exported whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.classification._forests import SizedForest
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras_tuner
    from sklearn.ensemble import RandomForestClassifier


@register
@dataclass(frozen=True)
class RandomForest(SizedForest):
    """Trees on bootstrap samples with random columns at each split (Breiman 2001), leaves smoothed.

    Args:
        num_trees: trees, 10 to 1,000; fewer where time runs out.
        min_samples_leaf: training rows in a leaf at least, 1 or more.
        column_share: share of columns tried at each split, above 0 to 1; 0 for the square root of their
            number.
        criterion: `"gini"` or `"entropy"`.
        smoothing: rows' worth of weight of the class shares in every leaf, 0 or more.
    """

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws leaf size, columns a split and criterion; fewer trees for many classes or rows."""
        leaf = 1 if profile.num_classes > 10 else cls.min_samples_leaf
        large = profile.num_rows * profile.num_classes > 300_000
        return cls(
            num_trees=100 if large else cls.num_trees,
            min_samples_leaf=hp.Int("min_samples_leaf", 1, 32, sampling="log", default=leaf),
            column_share=hp.Choice("column_share", [0.0, 0.15, 0.3, 0.5, 0.8], default=cls.column_share),
            criterion=hp.Choice("criterion", ["gini", "entropy"], default=cls.criterion),
            smoothing=hp.Float("smoothing", 0.02, 2.0, sampling="log", default=cls.smoothing),
        )

    def library_class(self) -> type[RandomForestClassifier]:
        """Returns scikit-learn's forest."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier
