"""Encoders of token sequences: numbers of a text, what encoders see, that they learn and export."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import keras_tuner
import numpy as np
import pytest

from autoflow.components import discovery
from autoflow.components.base import FitContext
from autoflow.components.classification.mlp import Mlp
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.components.feature_extraction._token_sequences import SequenceExtractor, TokenSequence
from autoflow.components.registry import Role, lookup, names
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.pipeline.graph import Resources
from autoflow.pipeline.network import FittedNetwork
from autoflow.pipeline.training import Prepared, fit_network
from autoflow.testing.feature_extraction import GraphTables

discovery.discover()

ENCODERS = [
    cast(type[SequenceExtractor], found)
    for name in names(Role.FEATURE_EXTRACTION)
    for found in [lookup(Role.FEATURE_EXTRACTION, name)]
    if issubclass(found, SequenceExtractor)
]
CONV = cast(type[SequenceExtractor], lookup(Role.FEATURE_EXTRACTION, "convolutional_text"))
HEAD = Mlp(num_layers=0, learning_rate=1e-2, batch_size=32)


def texts(*rows: str) -> np.ndarray:
    return np.array(rows, dtype=object)[:, None]


def sequence(extractor: SequenceExtractor, values: np.ndarray) -> TokenSequence:
    return extractor.fit(values, seed=0).columns[0]


def test_tokens_are_numbered_in_reading_order_with_repeats_and_one_number_for_all_unknown():
    learned = sequence(CONV(min_count=2), texts("b a", "a b", "c"))
    b, a, end = learned.transform(["b a"])[0, :3].tolist()
    assert len({a, b, 0}) == 3
    assert end == 0
    unknown = learned.transform(["new"])[0, 0]
    assert unknown not in (0, a, b)
    assert learned.transform(["A, b! a new c"])[0].tolist() == [a, b, a, unknown, unknown, 0, 0, 0]
    assert not learned.transform([""]).any()


def test_length_covers_most_rows_and_never_passes_the_bound():
    usual = texts(*["one two three"] * 99, " ".join(["word"] * 90))
    assert sequence(CONV(), usual).length == 8
    long = texts(" ".join(["word"] * 900))
    assert sequence(CONV(max_words=20), long).length == 20
    assert sequence(CONV(tokens="characters"), long).length == 256


def test_the_sizes_of_the_layer_are_round_so_that_folds_share_a_network():
    first = CONV().fit(texts("a b c", "a b"), seed=0)
    second = CONV().fit(texts("d e f g h", "d e"), seed=0)
    assert first.layer_key == second.layer_key
    assert first.layer_key != CONV(num_filters=32).fit(texts("a b c"), seed=0).layer_key


@pytest.mark.parametrize("tokens", ["words", "characters"])
def test_hostile_texts_have_the_same_numbers_in_the_graph(tokens):
    import tensorflow as tf

    learned = sequence(CONV(tokens=tokens, min_count=1), texts("good bad 良い", "bad 😀", "e\u0301"))
    hostile = ["", " ", "\x00\x85", "😀" * 300, "good\u3000bad", "x" * 2_000_000, "İ ß ﬁ", "良い" * 99]
    nothing = sequence(CONV(tokens=tokens), texts("", ""))
    for ids in (learned, nothing):
        served = ids.graph(tf.constant(hostile), GraphTables()).numpy()
        np.testing.assert_array_equal(served, ids.transform(hostile))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_empty_places_say_nothing_and_the_order_does(encoder):
    import tensorflow as tf

    values = texts(*["red green blue car"] * 4, "red blue")
    fitted = encoder().fit(values, seed=0)
    layer = fitted.layer()
    rows = fitted.transform(texts("red green", "green red", "", "red green blue car"))
    together = layer(tf.constant(rows)).numpy()
    alone = layer(tf.constant(rows[:1])).numpy()
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-6
    assert not layer(tf.zeros_like(rows)).numpy().any()
    trained = layer(tf.constant(rows), training=True).numpy()
    assert np.abs(trained - together).max() > 0


def _pairs(num: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Texts whose class is the order of two words that all of them hold, among others."""
    labels = random.integers(0, 2, num)
    rows = []
    for label in labels:
        filler = ["so", "it", "was"][: random.integers(0, 4)]
        rows.append(" ".join([*filler, *(["dog", "man"] if label else ["man", "dog"]), *filler]))
    return texts(*rows), labels.astype(np.int32)


@pytest.fixture(scope="module", params=ENCODERS, ids=lambda encoder: encoder.__name__)
def trained(request) -> tuple[SequenceExtractor, FittedNetwork, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    values, labels = _pairs(256, random)
    extractor = request.param(dimensions=16, token_dropout=0.0, dropout=0.0)
    fitted = extractor.fit(values, seed=0)
    train = Prepared((fitted.transform(values),), labels)
    network = fit_network([fitted], PlainConcat(), HEAD, train, None, FitContext(2, iterations=15))
    asked, expected = _pairs(60, random)
    return extractor, network, asked, expected


def test_a_linear_classifier_behind_it_learns_what_order_means(trained):
    _, network, asked, expected = trained
    found = network.predict_probabilities([network.extractors[0].transform(asked)]).argmax(axis=1)
    assert (found == expected).mean() > 0.9


def test_a_saved_model_of_it_takes_strings_and_any_number_of_rows(trained, tmp_path: Path):
    import tensorflow as tf

    _, network, asked, _ = trained
    tables = Resources()

    class Served(tf.Module):
        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, 1], tf.string)])
        def serve(self, rows: tf.Tensor) -> tf.Tensor:
            return network.graph([network.extractors[0].graph(rows, tables)])[0]

    served = Served()  # its table resources must be tracked
    served.tables = tables
    tf.saved_model.save(served, str(tmp_path / "1"), signatures=served.serve.get_concrete_function())
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    run = loaded.signatures["serving_default"]
    asked = np.concatenate([asked, texts("", "never seen words here", "dog " * 500)])
    expected = network.predict_probabilities([network.extractors[0].transform(asked)])
    (together,) = run(tf.constant(asked.tolist())).values()
    np.testing.assert_allclose(together.numpy(), expected, atol=1e-5)
    for row in (0, len(asked) - 3, len(asked) - 1):
        (alone,) = run(tf.constant(asked[row : row + 1].tolist())).values()
        np.testing.assert_allclose(alone.numpy()[0], together.numpy()[row], atol=1e-6)


def _profile(num_rows: int, mean_characters: float, *, spaced: bool = True) -> DataProfile:
    column = ColumnProfile("text", ColumnKind.TEXT, num_rows, 0.0, mean_characters, spaced)
    return DataProfile(num_rows, (num_rows // 2,) * 2, (column,))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_is_tried_on_short_texts_with_rows_enough_and_on_characters_without_words(encoder):
    assert encoder.supports(_profile(5000, 80.0))
    assert not encoder.supports(_profile(5000, 50_000.0))
    assert not encoder.supports(_profile(60, 80.0))
    for spaced, tokens in ((True, "words"), (False, "characters")):
        drawn = encoder.sample(keras_tuner.HyperParameters(), _profile(5000, 80.0, spaced=spaced))
        assert drawn.tokens == tokens
