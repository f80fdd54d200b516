"""A document means the same as Markdown and as HTML, and words cannot break out of their cell."""

import pytest

from training.report.document import Beside, Document, Folded, Heading, Notice, Picture, Row, Table, Text, Weight
from training.report.html_page import html
from training.report.markdown_page import markdown

DOCUMENT: Document = (
    Heading("Title", 1),
    Notice("**Mind** this."),
    Beside(
        (Table(("arm", "R"), (Row(("group",), Weight.GROUP), Row(("a|b", "0.5"), Weight.STRONG)), "A caption."),),
        (Text("Words with `code`.\n\n- one\n- two"),),
    ),
    Folded("More", (Heading("Inside & out", 3), Picture("p.png", "What it *shows*.", 'a "p"'))),
)


def test_markdown_has_all_parts_in_their_order() -> None:
    assert markdown(DOCUMENT, pictures="figures").split("\n\n") == [
        "# Title",
        "> **Mind** this.",
        "| arm | R |\n|---|--:|\n| *group* |  |\n| **a\\|b** | **0.5** |",
        "A caption.",
        "Words with `code`.",
        "- one\n- two",
        "**More**",
        "### Inside & out",
        '![a "p"](figures/p.png)',
        "*What it *shows*.*\n",
    ]


def test_html_has_all_parts_and_sets_numbers_apart_from_words() -> None:
    page = html(DOCUMENT, pictures="figures")
    for piece in (
        "<title>Title</title>",
        '<h1 id="title">Title</h1>',
        "<aside><p><strong>Mind</strong> this.</p>",
        '<tr class="group"><th colspan="2">group</th></tr>',
        '<tr class="strong"><td class="words">a|b</td><td>0.5</td></tr>',
        "<figcaption>A caption.</figcaption>",
        "<code>code</code>",
        "<li>two</li>",
        "<summary>More</summary>",
        '<h3 id="inside--out">Inside &amp; out</h3>',
        '<img src="figures/p.png" alt="a &#34;p&#34;">',
        "What it <em>shows</em>.",
    ):
        assert piece in page, piece
    assert page.index("<table>") < page.index("<code>code")


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", "[x](javascript:alert(1))", "<img src=x onerror=y>"])
def test_words_never_become_html_of_their_own(words: str) -> None:
    table = Table(("a",), (Row((words,)),), words)
    page = html((Heading(words), Text(words), Notice(words), table, Picture("p.png", words, words)), pictures="f")
    body = page[page.index("<body>") :]
    assert "<script" not in body
    assert "<img src=x" not in body
    assert 'href="javascript' not in body


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells in a table of 2 columns"):
        Table(("a", "b"), (Row(("one",)),))
