"""A page with tables that are made from code.

Text between two marks

    <!-- table: NAME -->
    <!-- end -->

is replaced; everything else stays.
"""

import re
from collections.abc import Callable, Iterable, Mapping

_BLOCK = re.compile(r"(<!-- table: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Tables = Mapping[str, Callable[[], str]]


def rewritten(page: str, tables: Tables) -> str:
    """The page with every table made anew.

    Raises:
        KeyError: the page asks for a table that does not exist.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}{tables[found['name']]()}{found[3]}", page)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
