"""Promises of the operator's page that hold for every route and template, also for those of tomorrow."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from jinja2 import Environment, nodes

from dicom_node.web import app, sign_in
from dicom_node.web.access.rights import RIGHTS, PageRole, Person, Right
from dicom_node.web.page import TEMPLATES

ROUTES = {
    (method, route.path): route.dependant
    for router in app.ROUTERS
    for context in iter_route_contexts(router.routes)
    if isinstance(route := context.original_route, APIRoute)
    for method in route.methods
}
SAFE = {"GET", "HEAD"}
FOR_VIEWERS: set[tuple[str, str]] = set()
"""What whoever may only look may send; nothing so far."""
STATIC = TEMPLATES.parent / "static"


def rights_of(dependant: Dependant) -> set[Right]:
    """The rights that a route asks for: those without which all of its dependencies refuse."""
    found = set()
    for each in dependant.dependencies:
        if each.call is not None and each.call.__qualname__ == "may.<locals>.check":
            found |= {
                cell.cell_contents for cell in each.call.__closure__ or () if isinstance(cell.cell_contents, Right)
            }
        found |= rights_of(each)
    return found


def test_there_are_routes() -> None:
    assert {("GET", "/"), ("GET", "/api/v1/cases"), ("POST", "/api/v1/audit/messages")} <= ROUTES.keys()


@pytest.mark.parametrize("route", sorted(ROUTES), ids=" ".join)
def test_every_route_asks_for_a_right(route: tuple[str, str]) -> None:
    assert rights_of(ROUTES[route]), "a handler takes a Viewer, Operator, Approver or Administrator"


@pytest.mark.parametrize("route", sorted(route for route in ROUTES if route[0] not in SAFE), ids=" ".join)
def test_what_changes_something_asks_for_more_than_to_look(route: tuple[str, str]) -> None:
    assert rights_of(ROUTES[route]) - {Right.VIEW, Right.SEE_PATIENTS} or route in FOR_VIEWERS


def test_the_sign_in_is_the_only_router_without_guards() -> None:
    paths = {route.path for route in sign_in.router.routes if isinstance(route, APIRoute)}
    assert paths == {"/sign-in", "/sign-out", "/sign-in/openid", "/sign-in/openid/done"}


def test_who_may_do_more_than_look_may_see_patients() -> None:
    """Forms of decisions show the patient to whoever may decide; so each right to act includes the right to see."""
    for role in PageRole:
        acts = RIGHTS[role] - {Right.VIEW, Right.SEE_PATIENTS}
        assert not acts or Person("", role).may(Right.SEE_PATIENTS), role


TEXTS = sorted(TEMPLATES.glob("*.html"))
OURS = sorted(path for path in STATIC.rglob("*") if path.suffix in {".js", ".css"} and "vendor" not in path.parts)
_FORBIDDEN = {
    "a script inside the page": re.compile(r"<script(?![^>]*\bsrc=)|<script[^>]*>(?!\s*</script>)", re.IGNORECASE),
    "a style inside the page": re.compile(r"<style|\sstyle\s*=", re.IGNORECASE),
    "a handler in an attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "an address outside of the site": re.compile(
        r"""\s(?:href|src|srcset|action|formaction|poster|data|ping)\s*=(?!=)\s*["']?(?!/(?!/)|\#|\?|\{\{|["'])""",
        re.IGNORECASE,
    ),
    "text that is taken for markup": re.compile(r"\|\s*safe\b|autoescape|Markup"),
}
_ELSEWHERE = re.compile(r"""(?:https?:|["'(])//(?!www\.w3\.org/2000/svg)""")
_MARKUP_BY_SCRIPT = re.compile(
    r"\.(?:innerHTML|outerHTML)\s*=(?!=)|insertAdjacentHTML|document\.write|\beval\(|new Function"
)


def faults_of(text: str) -> set[str]:
    """What a template holds that no page may."""
    return {fault for fault, pattern in _FORBIDDEN.items() if pattern.search(text)}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_template_has_scripts_styles_or_addresses_of_others(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert faults_of(text) == set()
    assert _ELSEWHERE.search(text) is None


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(STATIC)))
def test_no_script_or_style_of_ours_asks_elsewhere_or_writes_markup(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert _ELSEWHERE.search(text) is None
    assert _MARKUP_BY_SCRIPT.search(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<script>go()</script>", "a script inside the page"),
        ('<script type="module">go()</script>', "a script inside the page"),
        ('<script src="/static/a.js">go()</script>', "a script inside the page"),
        ('<p style="color: red">', "a style inside the page"),
        ("<style>p {}</style>", "a style inside the page"),
        ('<a href="/" onclick="go()">', "a handler in an attribute"),
        ('<script src="https://cdn.example/a.js"></script>', "an address outside of the site"),
        ("<img src=//example/a.png>", "an address outside of the site"),
        ('<a href="javascript:go()">', "an address outside of the site"),
        ("{{ name | safe }}", "text that is taken for markup"),
    ],
)
def test_the_search_finds_what_it_is_for(text: str, fault: str) -> None:
    assert fault in faults_of(text)


@pytest.mark.parametrize(
    "text", ['import "https://cdn.example/a.js"', "url(//example/a.woff)", 'fetch("//example")', 'src="//example"']
)
def test_addresses_elsewhere_are_found(text: str) -> None:
    assert _ELSEWHERE.search(text) is not None


PATIENT = {"patient", "patient_id", "patient_name", "birth_date", "accession", "accession_number", "subject"}
"""Names under which templates have what tells who a patient is."""
WORDS = {"decision_list.html": {"reason", "words"}}
"""What people wrote, which may name a patient."""
GUARDS = {"sees_patients", "with_words", "patient"}
"""What a template asks before it shows them; `patient` is none for whoever may not see it."""
FOR_WHO_MAY = {
    "decision_form.html": Right.OPERATE,
    "rating_form.html": Right.APPROVE,
    "tools_audit.html": Right.ADMINISTER,
}
"""Templates of pages that nobody reaches without a right that includes to see patients."""


def unguarded(source: str, secrets: set[str] = PATIENT) -> list[str]:
    """What a template shows of patients without asking whether it may."""
    return [
        name for name, is_asked in _shown(Environment(autoescape=True).parse(source), secrets, False) if not is_asked
    ]


def _names(node: nodes.Node, wanted: set[str]) -> set[str]:
    found = {each.name for each in node.find_all(nodes.Name)} | {each.attr for each in node.find_all(nodes.Getattr)}
    own = {node.name} if isinstance(node, nodes.Name) else {node.attr} if isinstance(node, nodes.Getattr) else set()
    return (found | own) & wanted


def _shown(node: nodes.Node, secrets: set[str], is_asked: bool) -> Iterator[tuple[str, bool]]:
    """Each secret that stands in the node, and whether it was asked for before."""
    if isinstance(node, nodes.If | nodes.CondExpr):
        yield from _chosen(node, secrets, is_asked)
    elif isinstance(node, nodes.Name | nodes.Getattr):
        yield from ((name, is_asked) for name in sorted(_names(node, secrets)))
    else:
        for child in node.iter_child_nodes():
            yield from _shown(child, secrets, is_asked)


def _chosen(node: nodes.If | nodes.CondExpr, secrets: set[str], is_asked: bool) -> Iterator[tuple[str, bool]]:
    asks = bool(_names(node.test, GUARDS))
    is_not = isinstance(node.test, nodes.Not)
    first = node.body if isinstance(node, nodes.If) else [node.expr1]
    others = [*node.elif_, *node.else_] if isinstance(node, nodes.If) else [node.expr2] if node.expr2 else []
    for part in first:
        yield from _shown(part, secrets, is_asked or (asks and not is_not))
    for part in others:
        yield from _shown(part, secrets, is_asked or (asks and is_not))


@pytest.mark.parametrize("path", [path for path in TEXTS if path.name not in FOR_WHO_MAY], ids=lambda path: path.name)
def test_no_template_shows_a_patient_without_asking(path: Path) -> None:
    assert unguarded(path.read_text(encoding="utf-8"), PATIENT | WORDS.get(path.name, set())) == []


@pytest.mark.parametrize("name", FOR_WHO_MAY)
def test_templates_that_do_not_ask_belong_to_who_may_see(name: str) -> None:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert unguarded(text), "the template shows no patient any more"
    rooms = [path.read_text(encoding="utf-8") for path in TEMPLATES.parent.rglob("*.py")]
    makers = [source for source in rooms if f'"{name}"' in source]
    assert makers
    guard = {Right.OPERATE: "Operator", Right.APPROVE: "Approver", Right.ADMINISTER: "Administrator"}[FOR_WHO_MAY[name]]
    for source in makers:
        assert f"person: {guard}" in source
        assert "person: Viewer" not in source


@pytest.mark.parametrize(
    "source",
    [
        "{{ case.patient.name }}",
        "{% if case %}{{ patient_id }}{% endif %}",
        "{% if sees_patients %}yes{% else %}{{ case.patient.name }}{% endif %}",
        "{% if not sees_patients %}{{ subject }}{% endif %}",
        "{{ subject.name if case else '' }}",
        "{% for one in cases %}{{ one.accession_number }}{% endfor %}",
    ],
)
def test_a_template_that_does_not_ask_is_found(source: str) -> None:
    assert unguarded(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% if sees_patients %}{{ case.patient.name }}{% endif %}",
        "{% if not sees_patients %}-{% elif case %}{{ case.patient.name }}{% else %}{{ subject }}{% endif %}",
        "{{ patient.name if patient else '-' }}",
    ],
)
def test_a_template_that_asks_is_not(source: str) -> None:
    assert unguarded(source) == []
