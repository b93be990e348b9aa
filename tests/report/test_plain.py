"""Names of a table reach the terminal as text and never as orders."""

import io

from rich.console import Console

from autoflow.report.plain import plain, visible
from autoflow.report.terminal import terminal


def test_control_sequences_and_markup_are_shown_and_not_followed():
    name = "[red]\x1b[2J\x9b31m\u202egnp\r\x00\ttab\nline"
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=200)
    console.print(plain(name), highlight=False)
    shown = console.file.getvalue()
    assert not {"\x1b", "\x9b", "\u202e", "\r", "\x00"} & set(shown)
    assert shown.startswith("[red]\\x1b[2J\\x9b31m\\u202egnp")


def test_a_name_between_colons_is_no_picture(capsys):
    terminal().print(plain("column :smile: [b]"))
    assert capsys.readouterr().out == "column :smile: [b]\n"


def test_ordinary_text_of_any_language_stays():
    text = "Größe (mm), 値段, สี, לבן, 😀"
    assert visible(text) == text
