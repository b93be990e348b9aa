"""Checks: every unfit table gets its sentence, every doubtful one its warning, and good ones none."""

import numpy as np
import pandas as pd
import pytest

from autoflow.data.dataset import load_dataset
from autoflow.errors import DataError

NUM_ROWS = 200
RNG = np.random.default_rng(0)


def table(label: list | np.ndarray, **columns: list | np.ndarray) -> pd.DataFrame:
    features = columns or {"size": RNG.normal(size=len(label)), "colour": list("rgb") * len(label)}
    cut = {name: list(cells)[: len(label)] for name, cells in features.items()}
    return pd.DataFrame(cut | {"kind": label})


def refusal(frame: pd.DataFrame) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(frame, label="kind")
    message = str(caught.value)
    assert "the DataFrame" in message
    assert "\n" not in message
    return message


def warnings(frame: pd.DataFrame) -> str:
    return "\n".join(load_dataset(frame, label="kind")[2])


def two(num_rows: int = NUM_ROWS) -> list[str]:
    return ["new", "old"] * (num_rows // 2)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([None] * NUM_ROWS, ["'kind' is empty in every row", "--label"]),
        ([""] * NUM_ROWS, ["'kind' is empty in every row"]),
        (["new"] * NUM_ROWS, ["has one class ('new')", "two or more", "--label"]),
        ([*two(), "odd", *[""] * 3], ["class 'odd' of label column 'kind' has a single row", "remove"]),
        (
            [*two(), "odd", "odder"],
            ["2 of the 4 classes ('odd', 'odder')", "have a single row each", "--label"],
        ),
        (
            [*[i % 30 for i in range(NUM_ROWS)], *range(30, 60)],
            [
                "30 of the 60 classes ('30', '31', '32', '33', '34' and 25 more)",
                "If 'kind' is a quantity, put ranges",
            ],
        ),
        ([f"n{i}" for i in range(NUM_ROWS)], ["a different value in every row", "id"]),
        ([*[f"n{i}" for i in range(1500)], *["n1"] * 100], ["1,500 different values", "id"]),
        ([float(i % 150) * 1.5 for i in range(NUM_ROWS)], ["quantity", "regression is not supported yet"]),
        ([i * i % 1000 for i in range(1000)], ["quantity", "regression is not supported yet"]),
        (["a", "b", "a", "b", "", ""], ["4 rows with a label are too few", "at least 10"]),
    ],
)
def test_unfit_labels(label, expected):
    message = refusal(table(label))
    assert all(part in message for part in expected), message


def test_every_feature_left_out():
    message = refusal(table(two(), number=range(NUM_ROWS), same=["x"] * NUM_ROWS))
    assert "no column is left to learn from" in message
    assert "'number': " in message
    assert "'same': the same value 'x' in every row" in message


def test_lists_as_labels():
    assert "label is one word or number" in refusal(table([[1]] * NUM_ROWS))


def test_many_numbered_classes_are_fine():
    dataset, _, _ = load_dataset(table([i % 40 for i in range(400)]), label="kind")
    assert len(dataset.schema.classes) == 40


def test_a_sound_table_has_no_warning():
    assert warnings(table(two())) == ""


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (table([*two(), "", None]), "2 of 202 rows have no label and are left out"),
        (table([*two(), *["odd"] * 3]), "few rows of class 'odd' (3): predictions of it will be unsure"),
        (table([*["old"] * 190, *["new"] * 10]), "'old' has 95.0% of the rows"),
        (table(two(), size=RNG.normal(size=NUM_ROWS), answer=two()), "'answer' alone tells the label"),
        (
            table(two(), size=RNG.normal(size=NUM_ROWS), score=[i % 2 + i / 1000 for i in range(NUM_ROWS)]),
            "'score' alone tells the label",
        ),
        (table(two(), size=RNG.normal(size=NUM_ROWS), rest=["a", "b", "", "", ""] * 40), "'rest' (60%)"),
        (table(two(), size=[1.5, 2.5, 3.5, 4.5] * 50), "196 of 200 rows are copies of another row"),
    ],
)
def test_warnings(frame, expected):
    assert expected in warnings(frame)


@pytest.mark.parametrize("copied", [lambda codes: codes * 1.5, lambda codes: [f"w{code}" for code in codes]])
def test_a_copy_of_a_label_of_many_classes_is_found(copied):
    codes = RNG.permutation(np.arange(600).repeat(5))
    label = np.array([f"class {code}" for code in codes])
    size = RNG.normal(size=len(codes))
    assert "'answer' alone tells the label" in warnings(table(label, answer=copied(codes), size=size))
    assert "alone tells" not in warnings(table(label, answer=copied(RNG.permutation(codes)), size=size))


def test_a_number_tells_the_label_wherever_the_border_lies():
    label = np.where(RNG.random(2000) < 0.37, "yes", "no")
    score = np.where(label == "yes", 1.0, -1.0) + RNG.normal(0, 0.1, 2000)
    assert "'score' alone tells the label" in warnings(table(label, score=score))
    assert "alone tells the label" not in warnings(table(label, score=RNG.normal(size=2000)))


@pytest.mark.parametrize("names", [("1", "1.0", "2"), ("Yes", "yes", "no"), ("a  b", "A b", "c")])
def test_classes_in_several_spellings_are_named(names):
    said = warnings(table(list(names) * 40))
    assert f"labels {names[0]!r} and {names[1]!r} look like one class" in said or (
        f"labels {names[1]!r} and {names[0]!r} look like one class" in said
    )
    assert "several spellings" not in warnings(table(["1", "2", "10"] * 40))


def test_huge_texts_and_control_characters_are_counted():
    texts = [f"a note of some words, number {number}" for number in range(120)]
    texts[3] = "word " * 30_000
    texts[5] += "\x07"
    texts[6] += "\x00\x1b"
    said = warnings(table(two(120), note=texts, size=RNG.normal(size=120)))
    assert "'note': 1 text is longer than 100,000 characters" in said
    assert "'note': 2 texts hold control characters" in said
    assert "'note'" not in warnings(
        table(two(120), note=texts[10:130] + texts[10:20], size=RNG.normal(size=120))
    )


def test_what_gives_a_rare_class_away_is_named():
    num_rows = 40_000
    rare = np.zeros(num_rows, bool)
    rare[RNG.choice(num_rows, 40, replace=False)] = True
    frame = table(
        np.where(rare, "fraud", "fine"), size=RNG.normal(size=num_rows), verdict=np.where(rare, "stop", "go")
    )
    told = warnings(frame)
    assert "'verdict' alone tells the label" in told
    assert "'size' alone" not in told
