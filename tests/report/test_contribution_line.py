"""What each column contributed, as a line."""

from autoflow.report.contributions import contribution_line


def test_names_the_largest_first():
    line = contribution_line({"price": 0.345, "title": 0.61, "place": 0.045})
    assert line == "how far the model listens to each column: title 61%, price 34%, place 4%"


def test_says_how_many_columns_are_not_listed():
    line = contribution_line({f"c{i}": 1 / 8 for i in range(8)})
    assert line.startswith("how far the model listens to each column: c0 12%, c1 12%")
    assert line.endswith("c4 12% (of 8 columns)")
