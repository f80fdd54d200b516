"""Pages and API of the models of a site, to look at. Nothing is promoted here: that takes two at the command line.

A browser session is one person, whoever else stands beside it, so `perfnode models promote` with its two names stays
the only way.
"""

from functools import cache
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markupsafe import Markup

from dicom_node.web.guard import Viewer
from dicom_node.web.node import TheNode
from dicom_node.web.page import page
from dicom_node.web.tools.model_facts import (
    ModelsHere,
    OneModel,
    ShadowReport,
    models_here,
    one_model,
    shadow_report,
)
from inference.errors import ModelNotRegistered

router = APIRouter()
_TEMPLATE: Final = "tools_models.html"
Reference = Annotated[str, Path(max_length=200, description="`name@version`, or first digits of its digest.")]


@router.get("/tools/models", response_class=HTMLResponse, include_in_schema=False)
def show_models(request: Request, person: Viewer, node: TheNode) -> HTMLResponse:
    """What is in service, what is here, and how that came about."""
    return page(request, _TEMPLATE, person, here=models_here(node.settings))


@router.get("/tools/models/shadow", response_class=HTMLResponse, include_in_schema=False)
def show_shadow(request: Request, person: Viewer, node: TheNode) -> HTMLResponse:
    """The model in shadow beside the one in use."""
    return page(request, "tools_shadow.html", person, report=shadow_report(node.settings))


@router.get("/tools/models/{reference}", response_class=HTMLResponse, include_in_schema=False)
def show_model(request: Request, person: Viewer, node: TheNode, reference: Reference) -> HTMLResponse:
    """One model with its own page."""
    try:
        model = one_model(node.settings, reference)
    except ModelNotRegistered:
        return page(request, "tools_model.html", person, status=404, model=None, words="", reference=reference)
    return page(request, "tools_model.html", person, model=model, words=rendered(model.page), reference=reference)


@router.get("/api/v1/models", tags=["tools"])
def read_models(person: Viewer, node: TheNode) -> ModelsHere:
    """What makes the maps, every model that is here, and every change of the one in force."""
    return models_here(node.settings)


@router.get("/api/v1/models/shadow", tags=["tools"])
def read_shadow(person: Viewer, node: TheNode) -> ShadowReport:
    """How the model that runs in shadow compares with the one in use."""
    return shadow_report(node.settings)


@router.get("/api/v1/models/{reference}", tags=["tools"])
def read_model(person: Viewer, node: TheNode, reference: Reference) -> OneModel:
    """One model of the registry, read and checked."""
    try:
        return one_model(node.settings, reference)
    except ModelNotRegistered as fault:
        raise HTTPException(404, f"{fault.code}: No model of this site is called so, or several are.") from fault


@cache
def _words() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def rendered(markdown: str) -> Markup:
    """Markdown as HTML without any HTML of its own, one level of headings lower: the page has a heading itself."""
    tokens = _words().parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"
    html = _words().renderer.render(tokens, _words().options, {})
    return Markup(html)  # noqa: S704 (markdown-it-py has escaped what is not Markdown)
