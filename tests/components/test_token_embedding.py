"""Token embeddings: which numbers a text gets, what the layer makes of them, and that a network learns."""

from __future__ import annotations

import keras_tuner
import numpy as np
import pytest

from autoflow.components.base import FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction.token_embedding import TokenEmbedding
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.pipeline.training import Prepared, fit_network


def texts(*rows: str) -> np.ndarray:
    return np.array(rows, dtype=object)[:, None]


def test_known_runs_are_numbered_once_the_short_ones_first_and_the_rest_is_0():
    training = texts("red car", "red car fast", "fast red car", "")
    fitted = TokenEmbedding(tokens="words", max_length=16).fit(training, seed=0)
    (ids,) = fitted.columns[0]
    assert len(ids.keys) == 4  # red, car, fast and one pair; the other pairs have one row only
    assert ids.length == 4
    numbers = fitted.transform(texts("red car red car", "car", "blue", "", "RED, fast!"))
    assert sorted(numbers[0].tolist()) == [0, *sorted({*numbers[0].tolist()} - {0})]
    red, car, pair = numbers[0][:3].tolist()
    assert len({red, car, pair}) == 3
    assert numbers[1].tolist() == [car, 0, 0, 0]
    assert not numbers[2:4].any()
    assert numbers[4][0] == red
    assert np.count_nonzero(numbers[4]) == 2


def test_rows_longer_than_most_lose_their_end():
    training = texts(*["a b"] * 99, "a b c d e f g h i j k l m n o p")
    fitted = TokenEmbedding(tokens="words", max_words=1, min_rows=1).fit(training, seed=0)
    assert fitted.widths == (2,)
    np.testing.assert_array_equal(fitted.transform(texts("b a c"))[0, :2], fitted.transform(texts("b a"))[0])


def test_bags_ignore_empty_places_and_order_and_are_of_like_length():
    import tensorflow as tf

    training = texts(*["one two three four five six"] * 3, "one")
    fitted = TokenEmbedding(tokens="words", max_words=1, min_rows=1).fit(training, seed=0)
    layer = fitted.layer()
    rows = fitted.transform(texts("one two", "two one", "", "unseen", "one two three four five six"))
    bags = layer(tf.constant(rows)).numpy()
    np.testing.assert_allclose(bags[0], bags[1], atol=1e-7)
    assert not bags[2:4].any()
    assert np.linalg.norm(bags[4]) < 2 * np.linalg.norm(bags[0])
    assert np.abs(layer(tf.constant(rows), training=True).numpy() - bags).max() > 0


@pytest.mark.parametrize(
    ("tokens", "words", "parted_by"),
    [
        ("words", ("good", "bad", "not"), " "),
        ("both", ("good", "bad", "not"), " "),
        ("characters", "良悪不", ""),
    ],
)
def test_a_network_without_hidden_layers_learns_what_pairs_mean(tokens, words, parted_by):
    random = np.random.default_rng(0)
    good, bad, never = words

    def labelled(num: int) -> tuple[np.ndarray, np.ndarray]:
        labels, negated = random.integers(0, 2, (2, num))
        core = [
            parted_by.join(([never] if no else []) + [good if label != no else bad])
            for label, no in zip(labels, negated, strict=True)
        ]
        return texts(*core), labels.astype(np.int32)

    values, labels = labelled(300)
    fitted = TokenEmbedding(tokens=tokens, dimensions=8).fit(values, seed=0)
    head = Mlp(num_layers=0, learning_rate=2e-2, batch_size=32)
    train = Prepared((fitted.transform(values),), labels)
    network = fit_network([fitted], PlainConcat(), head, train, None, FitContext(2, iterations=25))
    asked, expected = labelled(60)
    found = network.predict_probabilities([fitted.transform(asked)]).argmax(axis=1)
    assert (found == expected).mean() > 0.95


@pytest.mark.parametrize(
    ("mean_characters", "spaced", "tokens"),
    [(60.0, True, "both"), (1500.0, True, "words"), (60.0, False, "characters")],
)
def test_the_first_guess_suits_the_texts(mean_characters, spaced, tokens):
    column = ColumnProfile("text", ColumnKind.TEXT, 900, 0.0, mean_characters, spaced)
    drawn = TokenEmbedding.sample(keras_tuner.HyperParameters(), DataProfile(1000, (500, 500), (column,)))
    assert drawn.tokens == tokens


def test_the_longest_runs_of_a_large_alphabet_keep_keys_of_their_own():
    characters = [chr(0x4E00 + place) for place in range(12_000)]
    rows = ["".join(characters[start : start + 5]) for start in range(0, 12_000, 5)]
    fitted = TokenEmbedding(tokens="characters", max_run=5, min_rows=1, max_features=50_000)
    (ids,) = fitted.fit(texts(*rows), seed=0).columns[0]
    assert (np.diff(ids.keys) > 0).all()
    assert ids.keys.min() > 0


def test_attention_begins_as_the_mean_and_then_prefers_what_its_query_likes():
    import tensorflow as tf

    training = texts(*["one two three four", "one two"] * 3, "two")
    by_mean, by_attention = (
        TokenEmbedding(tokens="words", max_words=1, min_rows=1, pooling=pooling).fit(training, seed=0)
        for pooling in ("mean", "attention")
    )
    rows = tf.constant(by_mean.transform(texts("one two three", "two", "", "unseen")))
    mean, attention = by_mean.layer(), by_attention.layer()
    mean(rows), attention(rows)
    attention.vectors.assign(mean.vectors)
    before = attention(rows).numpy()
    np.testing.assert_allclose(before, mean(rows).numpy(), atol=1e-6)
    place = int(rows[1, 0]) - 1
    liked = attention.vectors.numpy()[place]
    attention.queries.assign(50 * liked[None] / np.linalg.norm(liked) ** 2)
    after = attention(rows).numpy()
    similar = [float(bag @ liked / np.linalg.norm(bag)) for bag in (before[0], after[0])]
    assert similar[1] > 1.1 * similar[0]
    np.testing.assert_allclose(after[1], before[1], atol=1e-6)  # a single run has all the attention
    assert not after[2:].any()
