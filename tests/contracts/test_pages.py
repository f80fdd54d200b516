"""Pages of `docs/` say what the code does: their tables are made anew and compared."""

from pathlib import Path

import pytest

from dicom_node.documents.page import rewritten
from dicom_node.documents.pages import PAGES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_of_the_page_are_those_of_the_code(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    assert rewritten(text, PAGES[name]) == text, "run `make docs`"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_shows_every_table(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    assert [table for table in PAGES[name] if f"<!-- table: {table} -->" not in text] == []
