"""Every key of a site file with what is in force: set by the site or its default, with what is secret left out.

Secrets stand in files of their own, so the site file names them and holds none. What a key named after a secret holds
all the same, and what stands in an address besides scheme, host, port and path, is not shown.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

HIDDEN: Final = "(set, not shown)"
_SECRET: Final = re.compile(r"pass(word|phrase)|secret|token|credential|private|api_?key", re.IGNORECASE)
_URL: Final = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SiteKey:
    """One key."""

    name: str
    """As a path, for instance `node.port` or `destinations[0].host`."""
    value: str
    """As TOML would have it, roughly; `none` for nothing."""
    is_set: bool
    """Whether the site says so; otherwise it is the default."""
    is_file: bool
    """Whether the value names a file or a folder. Its content is never shown."""


def site_keys(site: BaseModel) -> tuple[SiteKey, ...]:
    """Every key of a table and the tables in it, in the order of the documentation."""
    return tuple(_keys("", site, is_set=True))


def _keys(prefix: str, table: BaseModel, *, is_set: bool) -> Iterator[SiteKey]:
    for name in type(table).model_fields:
        said = is_set and name in table.model_fields_set
        yield from _of(f"{prefix}{name}", getattr(table, name), said)


def _of(name: str, value: Any, is_set: bool) -> Iterator[SiteKey]:
    if isinstance(value, BaseModel):
        yield from _keys(f"{name}.", value, is_set=is_set)
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _of(f"{name}.{key}", item, is_set)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], BaseModel):
        for number, item in enumerate(value):
            yield from _of(f"{name}[{number}]", item, is_set)
    else:
        is_file = isinstance(value, Path) or _all_paths(value)
        yield SiteKey(name, _shown(name, value, is_file=is_file), is_set, is_file)


def _all_paths(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Path) for item in value)


def _shown(name: str, value: Any, *, is_file: bool) -> str:
    if value is None or value in ("", [], {}, ()):
        return "none"
    if not is_file and _SECRET.search(name.rpartition(".")[2]):
        return HIDDEN
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _bare_url(str(value)) if isinstance(value, str) and _URL.match(value) else str(value)


def _bare_url(text: str) -> str:
    """An address without user, password, query and fragment."""
    try:
        url = urlsplit(text)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        port = f":{url.port}" if url.port is not None else ""
    except ValueError:
        return HIDDEN
    left_out = " (more is not shown)" if url.username or url.query or url.fragment else ""
    return f"{url.scheme}://{host}{port}{url.path}{left_out}"
