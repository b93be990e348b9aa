"""What a graph answers that was traced as an export traces it, for any number of rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from autoflow.components.base import FittedClassifier
from autoflow.components.classification._forest_graph import forest_sums
from autoflow.components.classification._trees import Forest


def graph_answers(fitted: Forest | FittedClassifier, features: np.ndarray) -> np.ndarray:
    """Returns probabilities of a classifier, or the sums of a forest, for `float32[n, d]`."""
    import tensorflow as tf

    graph = partial(forest_sums, fitted) if isinstance(fitted, Forest) else fitted.graph
    spec = tf.TensorSpec([None, features.shape[1]], tf.float32)
    return tf.function(graph, input_signature=[spec], autograph=False)(features).numpy()
