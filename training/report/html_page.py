"""A document as one HTML page: no script, nothing fetched from elsewhere, pictures beside it.

The template is `page.html` (Jinja2, everything escaped); words become HTML by markdown-it-py, which lets no HTML of
theirs through.
"""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from training.report.document import Document, Heading

TEMPLATE = "page.html"


def html(document: Document, *, pictures: str) -> str:
    """The whole page.

    Args:
        document: what it says; its first heading of level 1 names the page.
        pictures: folder of the pictures, from where the page lies.
    """
    title = next((part.text for part in document if isinstance(part, Heading) and part.level == 1), "")
    template = _environment().from_string(files("training.report").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(document=document, title=title, pictures=pictures)


@cache
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["paragraphs"] = _paragraphs
    environment.filters["inline"] = _inline
    environment.tests["of_kind"] = lambda part, kind: type(part).__name__ == kind
    return environment


@cache
def _words() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False})


def _paragraphs(words: str) -> Markup:
    return Markup(_words().render(words))  # noqa: S704 (markdown-it-py has escaped what is not Markdown)


def _inline(words: str) -> Markup:
    return Markup(_words().renderInline(words))  # noqa: S704 (the same)
