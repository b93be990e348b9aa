"""Hashed n-grams: no vocabulary, the same numbers in NumPy and in the graph, and that a network learns."""

from __future__ import annotations

import numpy as np
import pytest

from autoflow.components.base import FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction._open_tokens import HashedCharacters, HashedWords
from autoflow.components.feature_extraction.hashed_ngrams import HashedNgrams
from autoflow.pipeline.training import Prepared, fit_network
from autoflow.testing.feature_extraction import GraphTables

HOSTILE = [
    "",
    " ",
    "\x00\x85\t",
    "😀" * 300,
    "good\u3000bad good",
    "x" * 2_000_000,
    "İ ß ﬁ Ω",
    "良い悪い" * 99,
    "\U0010ffff a\U000e0041b",
    "é e\u0301",
]


def texts(*rows: str) -> np.ndarray:
    return np.array(rows, dtype=object)[:, None]


@pytest.mark.parametrize("tokens", [HashedWords(20_000), HashedCharacters(20_000)])
def test_tokens_have_the_same_numbers_in_the_graph_within_their_size(tokens):
    import tensorflow as tf

    numbers, rows = tokens.find(HOSTILE)
    found, rows_found = tokens.find_graph(tf.constant(HOSTILE), GraphTables())
    np.testing.assert_array_equal(found.numpy(), numbers)
    np.testing.assert_array_equal(rows_found.numpy(), rows)
    assert numbers.min() >= 1
    assert numbers.max() <= tokens.size


def test_words_have_numbers_of_their_own_whatever_stands_around_them():
    random = np.random.default_rng(0)
    words = sorted({"".join(random.choice(list("abcdefgh"), random.integers(1, 9))) for _ in range(5000)})
    numbers, rows = HashedWords(4000).find(words)
    assert rows.tolist() == list(range(len(words)))
    assert len(set(numbers.tolist())) > 0.999 * len(words)
    together, _ = HashedWords(10**6).find([" ".join(words)])
    np.testing.assert_array_equal(together, numbers)


@pytest.mark.parametrize("tokens", ["words", "characters", "both"])
def test_any_text_has_distinct_ascending_buckets_the_same_in_the_graph(tokens):
    import tensorflow as tf

    extractor = HashedNgrams(tokens=tokens, num_buckets=1000, max_length=200)
    fitted = extractor.fit(texts(" ".join(f"word{n}" for n in range(400))), seed=3)
    values = texts(*HOSTILE)
    numbers = fitted.transform(values)
    np.testing.assert_array_equal(fitted.graph(tf.constant(values.tolist()), GraphTables()).numpy(), numbers)
    assert numbers.max() <= 1000
    for ids, _ in fitted.columns[0]:
        for row in ids.transform(HOSTILE):
            used = row[row > 0]
            assert not row[len(used) :].any()
            assert (np.diff(used) > 0).all()


def test_unseen_words_have_buckets_and_buckets_without_training_rows_weigh_nothing():
    import tensorflow as tf

    fitted = HashedNgrams(tokens="words").fit(texts("red car", "blue car", "red car"), seed=0)
    ((ids, importances),) = fitted.columns[0]
    rows = fitted.transform(texts("car", "zebra", "blue"))
    assert (rows[:, 0] > 0).all()
    car, zebra, blue = importances[rows[:, 0] - 1]
    assert 0 == zebra < car < blue
    assert importances.shape == (ids.num_buckets,)
    bags = fitted.layer()(tf.constant(rows)).numpy()
    assert not bags[1].any()
    assert bags[0].any()


def test_a_network_learns_from_parts_of_words_that_it_never_saw_whole():
    random = np.random.default_rng(0)

    def labelled(num: int) -> tuple[np.ndarray, np.ndarray]:
        labels = random.integers(0, 2, num).astype(np.int32)
        codes = random.integers(0, 10**9, num)
        return texts(*(f"{'ab' if k else 'ba'}x{n}" for k, n in zip(labels, codes, strict=True))), labels

    values, labels = labelled(300)
    fitted = HashedNgrams(tokens="characters", dimensions=8, num_buckets=5000).fit(values, seed=0)
    head = Mlp(num_layers=0, learning_rate=2e-2, batch_size=32)
    train = Prepared((fitted.transform(values),), labels)
    network = fit_network([fitted], PlainConcat(), head, train, None, FitContext(2, iterations=15))
    asked, expected = labelled(60)
    found = network.predict_probabilities([fitted.transform(asked)]).argmax(axis=1)
    assert (found == expected).mean() > 0.95
