"""`RouteMode`: how far results go on their way to a destination, key `mode` of `[[destinations]]`.

A site that takes the node into use tries a route before it trusts it. Modes are read when deliveries are queued and
again when they are made, so a destination that is switched off gets nothing of what still waits for it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

ROUTE_OFF: Final = "ROUTE_OFF"
"""Code of what was not sent because the site switched the destination off."""
DRY_RUN: Final = "DRY_RUN"
"""Code of what was not sent because the site only wants to see what would be."""
AWAITS_RELEASE: Final = "AWAITS_RELEASE"
"""Code of what waits for a person."""
SHADOWS_ONLY: Final = "SHADOWS_ONLY"
"""Code of a case that no destination of mode `live`, `hold` or `dry-run` is to get."""
_NOWHERE: Final = {
    ROUTE_OFF: "Every destination is switched off, or for research models only; nothing is sent.",
    SHADOWS_ONLY: "Only shadow destinations get it; what becomes of that counts for nothing.",
}


class RouteMode(StrEnum):
    """What happens on the way to one destination."""

    OFF = "off"
    """Nothing is made for it alone, and nothing is queued or sent."""
    DRY_RUN = "dry-run"
    """Everything is made and checked; what would be sent is recorded, and no association is opened."""
    SHADOW = "shadow"
    """Everything is sent, beside the road: to a research archive, say. What becomes of it says nothing about the case,
    holds up nobody and is not verified."""
    HOLD = "hold"
    """Objects wait for a person: `perfnode release` sends them, `perfnode discard` ends it. No notices are sent."""
    LIVE = "live"
    """Objects are sent and verified."""
    RESEARCH = "research"
    """It gets nothing of what is in use, only objects of a model that runs in shadow; only such a destination may."""


NOT_COUNTED: Final = (RouteMode.OFF, RouteMode.SHADOW, RouteMode.RESEARCH)
"""Modes of destinations that no case waits for."""
RESULTLESS: Final = (RouteMode.OFF, RouteMode.RESEARCH)
"""Modes of destinations that get nothing of the results in use."""


def onward(modes: Mapping[str, RouteMode]) -> dict[str, Any]:
    """Where objects go that are made and checked, as part of the output of a stage.

    `destinations`: those that the case waits for; `shadows`: those that get everything and do not count; `more`:
    whether the case waits for any; `code` and `message` where a site has destinations and none of them counts.
    """
    destinations = [name for name, mode in modes.items() if mode not in NOT_COUNTED]
    shadows = [name for name, mode in modes.items() if mode is RouteMode.SHADOW]
    on = {"destinations": destinations, "shadows": shadows, "more": bool(destinations)}
    if destinations or not modes:
        return on
    code = SHADOWS_ONLY if shadows else ROUTE_OFF
    return {**on, "code": code, "message": _NOWHERE[code]}


def told(modes: Mapping[str, RouteMode], names: Iterable[str]) -> list[str]:
    """Those of `names` that are told when a case gives no result; nobody looks at a notice before it is sent."""
    return [name for name in names if modes.get(name, RouteMode.LIVE) not in (*RESULTLESS, RouteMode.HOLD)]
