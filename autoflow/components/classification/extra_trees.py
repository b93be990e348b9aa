"""Extremely randomised trees, bounded in size so that they can be exported whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.classification._forests import SizedForest
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras_tuner
    from sklearn.ensemble import ExtraTreesClassifier


@register
@dataclass(frozen=True)
class ExtraTrees(SizedForest):
    """Trees on all rows with random thresholds at each split (Geurts et al. 2006), leaves smoothed.

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
        # random thresholds need more columns to choose from, but wide tables then take too long; on many
        # rows few deep trees beat many whose leaves the limit of size keeps coarse
        large = profile.num_rows >= 5000
        share = (0.5 if large else 0.3) if len(profile.columns) <= 60 else 0.0
        leaf = 1 if large or profile.num_classes > 10 else cls.min_samples_leaf
        return cls(
            num_trees=60 if large else cls.num_trees,
            min_samples_leaf=hp.Int("min_samples_leaf", 1, 32, sampling="log", default=leaf),
            column_share=hp.Choice("column_share", [0.0, 0.15, 0.3, 0.5, 0.8], default=share),
            criterion=hp.Choice("criterion", ["gini", "entropy"], default=cls.criterion),
            smoothing=hp.Float("smoothing", 0.02, 2.0, sampling="log", default=cls.smoothing),
        )

    def library_class(self) -> type[ExtraTreesClassifier]:
        """Returns scikit-learn's forest."""
        from sklearn.ensemble import ExtraTreesClassifier

        return ExtraTreesClassifier
