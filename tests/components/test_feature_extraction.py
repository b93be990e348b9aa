"""What the extractors mean, beyond the contract that tests/components/test_contract.py checks for all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeClassifier

from autoflow.components.base import FittedExtractor
from autoflow.components.feature_extraction import _tfidf
from autoflow.components.feature_extraction._datetimes import PARTS, calendar
from autoflow.components.feature_extraction._text_tokens import CharacterTokens, WordTokens
from autoflow.components.feature_extraction.boolean_flags import BooleanFlags
from autoflow.components.feature_extraction.calendar_parts import CalendarParts
from autoflow.components.feature_extraction.category_embedding import CategoryEmbedding
from autoflow.components.feature_extraction.cyclic_time import CyclicTime
from autoflow.components.feature_extraction.datetime_features import DatetimeFeatures
from autoflow.components.feature_extraction.frequency import Frequency
from autoflow.components.feature_extraction.hashed_categories import HashedCategories
from autoflow.components.feature_extraction.one_hot import OneHot
from autoflow.components.feature_extraction.ordinal_codes import OrdinalCodes
from autoflow.components.feature_extraction.piecewise_linear import PiecewiseLinear
from autoflow.components.feature_extraction.quantile_transformed import QuantileTransformed
from autoflow.components.feature_extraction.raw_numbers import RawNumbers
from autoflow.components.feature_extraction.standardized import Standardized
from autoflow.components.feature_extraction.tfidf_characters import TfidfCharacters
from autoflow.components.feature_extraction.tfidf_words import TfidfWords

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(100.0, 15.0, (2_000, 1))


def column(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)[:, None]


# --- numbers -----------------------------------------------------------------------------------------


def test_standardized_has_mean_zero_and_deviation_one() -> None:
    features = Standardized().fit(NORMAL, seed=0).transform(NORMAL)
    assert abs(features.mean()) < 1e-5
    assert abs(features.std() - 1) < 0.01


def test_standardized_clips_and_fills_the_mean() -> None:
    fitted = Standardized(limit=4.0).fit(NORMAL, seed=0)
    served = fitted.transform(np.array([[np.inf], [-1e300], [np.nan]]))
    assert served.ravel().tolist() == [4.0, -4.0, 0.0]


def test_indicators_stand_behind_the_columns_that_had_missing_values() -> None:
    values = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 4.0], [3.0, 7.0, 5.0]])
    fitted = Standardized().fit(values, seed=0)
    assert fitted.widths == (1, 2, 1)
    assert fitted.transform(values)[:, 2].tolist() == [1.0, 0.0, 0.0]
    assert fitted.transform(np.full((1, 3), np.nan))[0, 2] == 1.0
    assert Standardized(missing_indicators=False).fit(values, seed=0).widths == (1, 1, 1)


@pytest.mark.parametrize(
    ("num_rows", "num_missing", "width"), [(20, 1, 2), (300, 2, 1), (300, 3, 2), (9000, 4, 1), (9000, 5, 2)]
)
def test_an_indicator_needs_one_row_in_a_hundred_or_five(num_rows: int, num_missing: int, width: int) -> None:
    values = RANDOM.normal(size=(num_rows, 1))
    values[:num_missing] = np.nan
    assert Standardized().fit(values, seed=0).widths == (width,)


@pytest.mark.parametrize("output", ["normal", "uniform"])
def test_quantiles_of_any_distribution_become_the_wanted_one(output: str) -> None:
    skewed = np.exp(RANDOM.normal(0, 3, (3_000, 1)))
    features = QuantileTransformed(output=output).fit(skewed, seed=0).transform(skewed).ravel()
    assert abs(features.mean()) < 0.05
    assert abs(features.std() - (1.0 if output == "normal" else 3**-0.5)) < 0.05
    order = np.argsort(skewed.ravel())
    assert (np.diff(features[order]) >= 0).all()


def test_quantiles_give_a_frequent_value_its_middle_rank() -> None:
    zeros = np.concatenate([np.zeros((900, 1)), np.ones((100, 1))])
    features = QuantileTransformed(output="uniform").fit(zeros, seed=0).transform(np.array([[0.0], [1.0]]))
    assert features.ravel() == pytest.approx([-0.1, 0.9], abs=0.02)


def test_piecewise_linear_passes_bin_after_bin() -> None:
    fitted = PiecewiseLinear(num_bins=4).fit(np.arange(101.0)[:, None], seed=0)
    encoded = fitted.transform(np.array([[-5.0], [0.0], [37.5], [100.0], [1e9]]))
    assert encoded.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_piecewise_linear_gives_few_values_few_bins() -> None:
    assert PiecewiseLinear(num_bins=16).fit(np.array([[0.0], [1.0], [2.0]] * 9), seed=0).widths == (2,)


def test_raw_numbers_stay_as_they_are_with_missing_below() -> None:
    values = np.array([[3.5, 2.0**40], [-2.0, 2.0**40 + 1], [np.nan, np.nan]])
    features = RawNumbers().fit(values, seed=0).transform(values)
    assert features[:2].tolist() == [[3.5, 0.0], [-2.0, 1.0]]
    assert features[2, 0] < -2.0
    assert features[2, 1] < 0.0


def test_raw_numbers_keep_small_steps_on_a_large_offset() -> None:
    days = 2_459_000 + np.linspace(0, 100, 401)[:, None]  # a quarter of a day is one step of float32
    features = RawNumbers().fit(days, seed=0).transform(days + 0.05)
    np.testing.assert_allclose(features[:, 0], days[:, 0] - 2_459_000 + 0.05, atol=1e-4)


def test_many_columns_stay_cheap_in_the_graph() -> None:
    import tensorflow as tf

    values = RANDOM.normal(0, 1, (50, 600))
    values[::5, ::3] = np.nan
    for extractor in (Standardized(), QuantileTransformed(), RawNumbers(), PiecewiseLinear()):
        fitted = extractor.fit(values, seed=0)
        graph = tf.Graph()
        with graph.as_default():
            fitted.graph(tf.compat.v1.placeholder(tf.float64, [None, 600]), None)  # type: ignore[arg-type]
        assert len(graph.get_operations()) < 80


def test_booleans() -> None:
    values = np.array([[0.0], [1.0], [np.nan]])
    assert BooleanFlags().fit(values, seed=0).transform(values).tolist() == [[0, 0], [1, 0], [0.5, 1]]


# --- categories --------------------------------------------------------------------------------------


def test_one_hot_has_a_column_for_the_rare_and_one_for_the_missing() -> None:
    values = column(*["a"] * 5, *["b"] * 4, "rare", "")
    fitted = OneHot(min_rows=3).fit(values, seed=0)
    served = fitted.transform(column("a", "b", "rare", "never seen", ""))
    assert fitted.widths == (4,)
    assert served.sum(axis=1).tolist() == [1, 1, 1, 1, 1]
    assert served[2].tolist() == served[3].tolist()
    assert len({tuple(row) for row in served.tolist()}) == 4


def test_one_hot_keeps_the_most_frequent() -> None:
    values = column(*["a"] * 2, *["b"] * 9, *["c"] * 5)
    served = OneHot(min_rows=1, max_categories=2).fit(values, seed=0).transform(column("b", "c", "a", "z"))
    assert served.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0]]


def test_ordinal_codes_sort_numbers_by_size() -> None:
    names = ["10 rooms", "2 rooms", "1st", "-3", "20", "3.5", "beta", "Alpha"]
    fitted = OrdinalCodes().fit(column(*names), seed=0)
    codes = fitted.transform(column(*names)).ravel()
    ordered = [name for _, name in sorted(zip(codes.tolist(), names, strict=True))]
    assert ordered == ["-3", "1st", "2 rooms", "3.5", "10 rooms", "20", "Alpha", "beta"]
    assert fitted.transform(column("", "unseen")).ravel().tolist() == [0.0, float(len(names)) + 1]


def test_ordinal_codes_by_frequency_begin_with_the_commonest() -> None:
    values = column("x", "y", "y", "y", "z", "z")
    codes = OrdinalCodes(order="frequency").fit(values, seed=0).transform(column("y", "z", "x"))
    assert codes.ravel().tolist() == [1.0, 2.0, 3.0]


def test_frequency_rises_with_the_count() -> None:
    values = column(*["a"] * 50, *["b"] * 5, "c")
    served = Frequency().fit(values, seed=0).transform(column("a", "b", "c", "unseen")).ravel()
    assert (np.diff(served) < 0).all()


def test_equal_values_of_two_columns_are_two_categories() -> None:
    values = np.array([["x", "y"], ["x", "y"], ["y", "y"]], dtype=object)
    fitted = Frequency(logarithmic=False, smoothing=1e-9).fit(values, seed=0)
    assert fitted.transform(values).tolist() == [
        pytest.approx([2 / 3, 1.0], abs=1e-5),
        pytest.approx([2 / 3, 1.0], abs=1e-5),
        pytest.approx([1 / 3, 1.0], abs=1e-5),
    ]


def test_hashes_spread_and_depend_on_the_seed() -> None:
    values = column(*[f"category {number}" for number in range(2_000)])
    features = HashedCategories(num_buckets=50).fit(values, seed=1).transform(values)
    assert (np.abs(features).sum(axis=1) == 1).all()
    loads = np.abs(features).sum(axis=0)
    assert loads.min() > 10
    assert loads.max() < 90
    assert abs(features.sum()) < 250
    other = HashedCategories(num_buckets=50).fit(values, seed=2).transform(values)
    assert not np.array_equal(features, other)


def test_embedding_widths_grow_with_the_number_of_categories() -> None:
    many = [f"c{number % 300}" for number in range(900)]
    values = np.array([[name, "ab"[place % 2]] for place, name in enumerate(many)], dtype=object)
    wide, narrow = CategoryEmbedding().fit(values, seed=0).layer_widths
    assert wide > 20 > narrow >= 2
    assert max(CategoryEmbedding(max_width=7).fit(values, seed=0).layer_widths) == 7


def test_folds_with_about_as_many_categories_have_layers_alike() -> None:
    def fitted(count: int) -> FittedExtractor:
        values = np.array([[f"c{number % count}"] for number in range(4 * count)], dtype=object)
        return CategoryEmbedding().fit(values, seed=0)

    assert fitted(80).layer_key == fitted(70).layer_key == fitted(126).layer_key != fitted(127).layer_key
    assert fitted(1500).layer_key == fitted(2000).layer_key
    codes = fitted(80).transform(np.array([["c79"], ["new"], [""]], dtype=object))
    vectors = fitted(80).layer()(codes)
    assert vectors.shape == (3, *fitted(70).layer_widths)


# --- datetimes ---------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
@settings(max_examples=150, deadline=None)
def test_the_calendar_agrees_with_python(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    seconds = (moment - datetime(1970, 1, 1)) / timedelta(seconds=1)
    parts = dict(zip(PARTS, calendar(np.array([seconds]), np.floor), strict=True))
    expected = {
        "year": moment.year,
        "month": moment.month,
        "day": moment.day,
        "weekday": moment.weekday(),
        "day_of_year": moment.timetuple().tm_yday,
        "hour": moment.hour,
        "minute": moment.minute,
        "second": moment.second,
        "days": (moment.date() - datetime(1970, 1, 1).date()).days,
    }
    assert {name: float(value[0]) for name, value in parts.items()} == expected


def _seconds(*days: str) -> np.ndarray:
    return np.array([[datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()] for day in days])


def test_only_parts_that_vary_are_kept() -> None:
    dates = _seconds("2024-01-05", "2024-02-05", "2024-03-05")
    widths = CalendarParts().fit(dates, seed=0).widths
    assert widths == (4,)  # month, weekday, day of year, days


def test_midnight_lies_beside_the_minute_before() -> None:
    times = _seconds("2024-01-05T00:00", "2024-01-05T12:00", "2024-01-05T23:59")
    midnight, noon, before = CyclicTime(trend=False).fit(times, seed=0).transform(times)
    assert np.linalg.norm(midnight - before) < 0.01 < np.linalg.norm(midnight - noon)


def _orders(num_rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Returns moments of two columns over thirty years, and the days between them."""
    starts = RANDOM.uniform(0, 1e9, num_rows)
    gaps = RANDOM.uniform(0, 30, num_rows)
    return np.stack([starts, starts + gaps * 86_400], axis=1), gaps


def test_gaps_count_for_the_later_column() -> None:
    values, gaps = _orders()
    fitted = DatetimeFeatures(parts="none", harmonics=0).fit(values, seed=0)
    assert fitted.widths == (1, 2)
    assert np.corrcoef(fitted.transform(values)[:, 2], gaps)[0, 1] > 0.999
    alone = DatetimeFeatures(parts="none", harmonics=0, gaps=False).fit(values, seed=0)
    assert alone.widths == (1, 1)


def test_a_tree_learns_what_the_gap_between_two_dates_decides() -> None:
    values, gaps = _orders()
    accuracies = []
    for extractor in (DatetimeFeatures(), DatetimeFeatures(gaps=False)):
        features = extractor.fit(values[:400], seed=0).transform(values)
        tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(features[:400], gaps[:400] > 12)
        accuracies.append(tree.score(features[400:], gaps[400:] > 12))
    assert accuracies[0] > 0.97 > 0.8 > accuracies[1]


def test_a_missing_moment_gives_the_mean_gap_and_the_median_moment() -> None:
    values, _ = _orders()
    values[::5, 0] = np.nan
    fitted = DatetimeFeatures(parts="none", harmonics=0).fit(values, seed=0)
    assert fitted.widths == (2, 2)
    elapsed, flag, _, gap = fitted.transform(values).T
    assert flag.tolist() == np.isnan(values[:, 0]).tolist()
    assert not elapsed[::5].any()
    assert not gap[::5].any()
    assert np.ptp(gap) > 1


def test_the_graph_takes_the_median_moment_for_zero_as_training_did() -> None:
    """A tree tells -1e-15 from 0 and would send a missing moment down another branch when it serves."""
    import tensorflow as tf

    for hours in np.random.default_rng(0).integers(0, 400_000, (3, 301, 1)):
        values = hours * 3_600.0 + 1.3e9
        fitted = DatetimeFeatures().fit(values, seed=0)
        served = tf.function(lambda rows, fitted=fitted: fitted.graph(rows, tables=None), autograph=False)
        rows = np.concatenate([values, [[np.nan]]])
        np.testing.assert_array_equal(np.sign(served(tf.constant(rows))), np.sign(fitted.transform(rows)))


def test_gaps_are_bounded_and_begin_with_neighbours() -> None:
    values = np.sort(RANDOM.uniform(0, 1e9, (50, 13)), axis=1)
    assert DatetimeFeatures(parts="none", harmonics=0).fit(values, seed=0).widths == (1, *(2,) * 10, 1, 1)
    three = values[:, :3]
    assert DatetimeFeatures(parts="none", harmonics=0).fit(three, seed=0).widths == (1, 2, 3)


def test_a_column_of_one_moment_yields_a_constant() -> None:
    values = np.full((5, 1), 1e9)
    for extractor in (CalendarParts(), CyclicTime(), DatetimeFeatures()):
        fitted = extractor.fit(values, seed=0)
        assert fitted.widths == (1,)
        assert not fitted.transform(values).any()


# --- text --------------------------------------------------------------------------------------------


def test_words_are_letters_digits_and_marks_in_lower_case() -> None:
    texts = ["Don't STOP, größe_ＷＩＤＥ x2!", "", "  नमस्ते  "]
    tokens = WordTokens.learn(texts, 1000, min_count=1, limit=100)
    assert set(tokens.words) == {"don", "t", "stop", "größe", "wide", "x2", "नमस्ते"}
    numbers, rows = tokens.find(["stop it don", "", "X2"])
    assert [tokens.words[number - 1] if number else None for number in numbers] == ["stop", None, "don", "x2"]
    assert rows.tolist() == [0, 0, 0, 2]


def test_characters_collapse_white_space() -> None:
    tokens = CharacterTokens.learn(["ab c"], 1000, min_count=1, limit=100)
    one, rows = tokens.find(["AB \t\n C", "ab c"])
    assert one[rows == 0].tolist() == one[rows == 1].tolist()


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_tokens_are_the_same_in_tensorflow(texts: list[str]) -> None:
    import tensorflow as tf

    from autoflow.testing.feature_extraction import GraphTables

    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    for sort in (WordTokens, CharacterTokens):
        tokens = sort.learn(["some training text, ok?", *texts[::2]], 30, min_count=1, limit=1000)
        numbers, rows = tokens.find(texts)
        served, served_rows = tokens.find_graph(tf.constant(texts), GraphTables())
        assert served.numpy().tolist() == numbers.tolist()
        assert served_rows.numpy().tolist() == rows.tolist()


@pytest.mark.parametrize("extractor", [TfidfWords(dimensions=8), TfidfCharacters(dimensions=8)])
def test_texts_about_one_thing_lie_together(extractor: TfidfWords | TfidfCharacters) -> None:
    fruit, cars = (
        ["apple", "pear", "cherry", "plum", "melon"],
        ["motor", "wheel", "brake", "clutch", "engine"],
    )
    texts = [" ".join(RANDOM.choice(words, 4)) for words in (fruit, cars) for _ in range(60)]
    vectors = extractor.fit(column(*texts), seed=0).transform(column(*texts))
    centre_of_fruit, centre_of_cars = vectors[:60].mean(axis=0), vectors[60:].mean(axis=0)
    nearer = np.linalg.norm(vectors - centre_of_fruit, axis=1) < np.linalg.norm(
        vectors - centre_of_cars, axis=1
    )
    assert nearer[:60].mean() > 0.95
    assert nearer[60:].mean() < 0.05


@pytest.mark.parametrize("extractor", [TfidfWords(), TfidfCharacters()])
def test_text_without_any_token_gives_finite_features(extractor: TfidfWords | TfidfCharacters) -> None:
    for texts in (["", "", ""], ["!!", "?", " "], ["word"]):
        fitted = extractor.fit(column(*texts), seed=0)
        assert np.isfinite(fitted.transform(column("word", "", "unseen thing"))).all()


def test_directions_of_a_byte_lie_where_exact_ones_do() -> None:
    import tensorflow as tf

    from autoflow.testing.feature_extraction import GraphTables

    generator = np.random.default_rng(0)
    topics = [[f"w{topic}x{number}" for number in range(30)] for topic in range(3)]
    texts = [" ".join(generator.choice(topics[row % 3], 8)) for row in range(300)]
    fitted = TfidfWords(dimensions=16).fit(column(*texts), seed=0)
    (vector,) = fitted.vectors
    assert vector.directions.dtype == np.int8
    assert (np.abs(vector.directions).max(axis=1) == 127).all()
    weights = vector.weights(texts)
    exact = weights @ _tfidf._directions(weights, 16, 0)
    spread = exact.std(axis=0)
    exact = (exact - exact.mean(axis=0)) / np.maximum(spread, spread.max() * 0.1)
    found = fitted.transform(column(*texts))
    assert (found - exact).std(axis=0).max() < 0.02  # where the features' own is 1
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    served = fitted.graph(tf.constant([[text] for text in texts]), GraphTables())
    np.testing.assert_allclose(served, found, atol=1e-6)


def test_dimensions_bound_the_width() -> None:
    texts = [" ".join(f"w{number}" for number in RANDOM.integers(0, 80, 12)) for _ in range(100)]
    assert TfidfWords(dimensions=5).fit(column(*texts), seed=0).widths == (5,)
    few = replace(TfidfWords(), max_words=1, max_features=3)
    assert few.fit(column(*texts), seed=0).widths == (3,)


def test_date_features_are_learned_in_parts_as_they_are_together(monkeypatch):
    moments = np.random.default_rng(0).normal(1.6e9, 1e8, size=(120, 2)).round()
    moments[::7, 1] = np.nan
    together = DatetimeFeatures().fit(moments, seed=0)
    monkeypatch.setattr("autoflow.components.feature_extraction._moments._LEARNED_ROWS", 50)
    monkeypatch.setattr("autoflow.components.base._PREPARED_ROWS", 32)
    in_parts, features = DatetimeFeatures().fit_transform(moments, np.zeros(120, np.int32), 2, seed=0)
    assert in_parts.widths == together.widths
    np.testing.assert_allclose(features, together.transform(moments), atol=1e-5)
