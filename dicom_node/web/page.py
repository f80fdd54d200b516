"""Pages as HTML: one Jinja2 environment that escapes everything, and what every page gets besides its own fields."""

from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dicom_node.web.access.rights import Person, Right
from dicom_node.web.patient_name import shown_name

TEMPLATES: Final = Path(__file__).parent / "templates"
_environment = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_environment.filters["name_of"] = shown_name


def page(request: Request, template: str, person: Person | None, *, status: int = 200, **fields: Any) -> HTMLResponse:
    """A page of the site.

    Args:
        request: that it answers.
        template: file in `templates/`, which extends `base.html`.
        person: who is signed in.
        status: of HTTP.
        fields: what the template shows.
    """
    return HTMLResponse(page_text(request, template, person, **fields), status)


def page_text(request: Request, template: str, person: Person | None, **fields: Any) -> str:
    """The HTML of a page; the arguments are those of `page`."""
    csrf = getattr(request.state, "csrf", "")
    return _environment.get_template(template).render(
        person=person, Right=Right, csrf=csrf, path=request.url.path, **fields
    )
