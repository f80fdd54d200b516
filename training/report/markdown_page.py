"""A document as Markdown, as repositories show it."""

from training.report.document import Beside, Document, Folded, Heading, Notice, Part, Picture, Row, Table, Text, Weight


def markdown(document: Document, *, pictures: str) -> str:
    """The whole document.

    Args:
        document: what it says.
        pictures: folder of the pictures, from where the file lies.
    """
    return "\n\n".join(_part(part, pictures) for part in document) + "\n"


def _part(part: Part, pictures: str) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(words):
            return words.strip()
        case Notice(words):
            return "\n".join(f"> {line}".rstrip() for line in words.strip().splitlines())
        case Table():
            return _table(part)
        case Picture(name, caption, instead):
            return f"![{instead}]({pictures}/{name})\n\n*{caption}*"
        case Folded(title, parts):
            return "\n\n".join([f"**{title}**", *(_part(each, pictures) for each in parts)])
        case Beside(left, right):
            return "\n\n".join(_part(each, pictures) for each in (*left, *right))


def _table(table: Table) -> str:
    marks = ("---" if number in table.words else "--:" for number in range(len(table.columns)))
    lines = [_line(table.columns), "|" + "|".join(marks) + "|"]
    lines += [_line(_cells(row, len(table.columns))) for row in table.rows]
    return "\n".join(lines) + (f"\n\n{table.caption}" if table.caption else "")


def _cells(row: Row, columns: int) -> tuple[str, ...]:
    match row.weight:
        case Weight.GROUP:
            return (f"*{row.cells[0]}*", *("" for _ in range(columns - 1)))
        case Weight.STRONG:
            return tuple(f"**{cell}**" if cell and "*" not in cell else cell for cell in row.cells)
        case _:
            return row.cells


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
