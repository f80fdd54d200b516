"""`docs/objects.md` says what the code does: its tables are made anew and compared."""

from pathlib import Path

from dicom_node.conformance import TABLES, rewritten

PAGE = Path(__file__).parents[2] / "docs" / "objects.md"


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert rewritten(PAGE.read_text(encoding="utf-8")) == PAGE.read_text(encoding="utf-8"), "run `make docs`"


def test_the_page_shows_every_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in text] == []
