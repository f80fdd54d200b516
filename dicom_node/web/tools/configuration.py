"""The configuration as in force: every key with its value, set or default, the source and digests; no secrets."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from dicom_node.settings.config import NodeSettings
from dicom_node.settings.site_keys import SiteKey
from dicom_node.web.guard import Administrator
from dicom_node.web.node import TheNode
from dicom_node.web.page import page

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the process behind the page read when it started."""

    source: str
    source_sha256: str
    """As it was read; empty for settings that came from no file."""
    is_current: bool
    """Whether the file is still the one that was read. If not, the node must be started anew to take it."""
    results_digest: str
    """Of all that changes the content of a result; part of every UID, and kept with each case."""
    uses_default_rules: bool
    """Whether the rules are those that come with the node."""
    keys: list[SiteKey]

    @property
    def tables(self) -> dict[str, list[SiteKey]]:
        """The keys by table of the site file."""
        found: dict[str, list[SiteKey]] = {}
        for key in self.keys:
            found.setdefault(key.name.partition(".")[0].partition("[")[0], []).append(key)
        return found


def configuration(settings: NodeSettings) -> Configuration:
    """What is in force, and whether the file says the same by now."""
    uses_default_rules = not any(key.name.startswith("rules[") for key in settings.keys)
    return Configuration(
        settings.source,
        settings.source_sha256,
        not settings.source_sha256 or _digest(Path(settings.source)) == settings.source_sha256,
        settings.settings_digest(),
        uses_default_rules,
        list(settings.keys),
    )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


@router.get("/tools/configuration", response_class=HTMLResponse, include_in_schema=False)
def show_configuration(request: Request, person: Administrator, node: TheNode) -> HTMLResponse:
    """Every key."""
    return page(request, "tools_configuration.html", person, configuration=configuration(node.settings))


@router.get("/api/v1/configuration", tags=["tools"])
def read_configuration(person: Administrator, node: TheNode) -> Configuration:
    """Every key with what is in force; secrets and contents of files are left out."""
    return configuration(node.settings)
