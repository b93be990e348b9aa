"""Half-sentences that help with a name that is not known."""

import pytest

from autoflow.errors import near_names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x", "did you mean 'X'?"),
        ("PRICE", "did you mean 'price' or 'Price'?"),
        ("colour", "known: X, price, Price"),
    ],
)
def test_case_does_not_hide_a_near_name(name, said):
    assert near_names(name, ["X", "price", "Price"]) == said
