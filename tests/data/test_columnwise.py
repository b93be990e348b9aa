"""Work on columns, on one thread or several: the same answers in the same order."""

import threading
import time

import pytest

from autoflow.data.columnwise import for_each


@pytest.mark.parametrize("num_rows", [10, 1_000_000])
def test_answers_come_in_the_order_of_the_items(num_rows):
    def slower_first(number):
        time.sleep(0.002 * (5 - number))
        return number * number

    assert for_each(slower_first, range(5), num_rows=num_rows) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("num_rows", [10, 1_000_000])
def test_an_error_is_raised_and_the_rest_is_left(num_rows):
    done = []

    def first_fails(number):
        if number == 0:
            raise ValueError("no such column")
        time.sleep(0.01)
        done.append(number)

    with pytest.raises(ValueError, match="no such column"):
        for_each(first_fails, range(500), num_rows=num_rows)
    assert len(done) < 100


def test_few_rows_stay_on_this_thread():
    assert set(for_each(lambda _: threading.get_ident(), range(20), num_rows=10)) == {threading.get_ident()}
