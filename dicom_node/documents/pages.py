"""Makes the tables of every page anew: `python -m dicom_node.documents.pages docs`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from dicom_node.documents import (
    acceptor_tables,
    objects_page,
    operating_tables,
    quality_page,
    requestor_tables,
    site_tables,
)
from dicom_node.documents.page import Tables, rewritten

PAGES: Mapping[str, Tables] = {
    "objects.md": objects_page.TABLES,
    "operating.md": operating_tables.TABLES,
    "quality.md": quality_page.TABLES,
    "conformance.md": {**acceptor_tables.TABLES, **requestor_tables.TABLES, **site_tables.TABLES},
}
"""Each page under `docs/` with its tables."""


def main(folder: Path) -> None:
    """Rewrite the pages in `folder`."""
    for name, tables in PAGES.items():
        path = folder / name
        path.write_text(rewritten(path.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
