"""The site's TOML file → frozen settings, with every mistake reported at once.

Text from outside is checked by pydantic here (and in `profile_files`) and turned into the frozen types that the rest of
the node works with. Every key has a default except the destinations; `configs/node/site.example.toml` documents each.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from dicom_node.errors import ConfigurationError
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination
from dicom_node.network.receiver import ReceiverSettings
from dicom_node.objects.kinds import ObjectRole
from dicom_node.objects.profile import StructureSetProfile
from dicom_node.orders import Order
from dicom_node.profile_files import read_profile
from dicom_node.site_file import FunctionRuleSection, InferenceSection, SiteFile
from inference.engine import EngineSettings
from inference.function_regions import RULES
from inference.volumes import FunctionRule


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Everything the node needs to know about its site."""

    source: str
    """The file the settings came from, for messages."""
    data_dir: Path
    """Spool, cases and journal; on a local disk."""
    receiver: ReceiverSettings
    quiet_period_s: float
    """A series is taken as complete when its last association has ended and nothing came for this long."""
    minimum_free_mb: int
    """Below this much free disk nothing is accepted."""
    destinations: tuple[Destination, ...]
    orders: Mapping[str, Order]
    """What each destination gets; many planning systems refuse Parametric Maps."""
    engine: EngineSettings
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"]
    """(0018,9004) of every object."""
    stage_timeout_s: float
    """Wall-clock limit of one stage of one case."""
    stage_attempts: int
    """How often a crashed stage is tried before the case fails."""
    retry_delays_s: tuple[float, ...]
    """Waits between delivery attempts; the last one repeats for an unreachable peer."""
    log_level: str
    log_format: str

    def settings_digest(self) -> str:
        """SHA-256 over what changes the content of a result; part of every UID."""
        facts = {
            "engine": self.engine.settings_digest(),
            "content_qualification": self.content_qualification,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def roles(self) -> dict[ObjectRole, StructureSetProfile]:
        """Every object that some destination ordered, with its profile; without destinations, the usual ones."""
        wanted = tuple(self.orders.values()) or (Order(),)
        return {role: order.profile for order in wanted for role in order.roles()}

    def destination(self, name: str) -> Destination:
        """The destination of that name; `KeyError` if the site has none."""
        for destination in self.destinations:
            if destination.name == name:
                return destination
        raise KeyError(name)


def read_settings(path: Path) -> NodeSettings:
    """Read a site file.

    Relative paths in it are relative to the folder of the file.

    Raises:
        ConfigurationError: the file is absent or not TOML, or has mistakes; all of them are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigurationError(str(path), (f"the file cannot be read: {fault}",)) from fault
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigurationError(str(path), (f"not valid TOML: {fault}",)) from fault
    return parse_settings(document, source=str(path), base=path.parent)


def parse_settings(document: dict[str, Any], *, source: str = "settings", base: Path = Path()) -> NodeSettings:
    """Turn a parsed site file into settings.

    Args:
        document: the tables of the TOML file.
        source: where it came from, for messages.
        base: folder that relative paths start from.

    Raises:
        ConfigurationError: with every mistake found.
    """
    try:
        site = SiteFile.model_validate(document)
    except ValidationError as fault:
        problems = tuple(_problem(error["loc"], error["msg"]) for error in fault.errors())
        raise ConfigurationError(source, problems) from fault
    profiles, wrong = _profiles(site, base.resolve())
    if problems := (*_contradictions(site), *wrong):
        raise ConfigurationError(source, problems)
    return _settings(site, source, base.resolve(), profiles)


def _problem(location: tuple[str | int, ...], message: str) -> str:
    return f"{'.'.join(str(part) for part in location)}: {message}"


def _contradictions(site: SiteFile) -> tuple[str, ...]:
    """Mistakes that no single key shows."""
    problems = []
    names = [d.name for d in site.destinations]
    problems += [f"destinations: the name {n} occurs twice" for n in sorted({n for n in names if names.count(n) > 1})]
    rule = site.inference.function_rule
    if isinstance(rule, str) and rule not in RULES:
        problems.append(f"inference.function_rule: unknown rule {rule!r}; known are {', '.join(sorted(RULES))}")
    if isinstance(rule, FunctionRuleSection) and rule.low_below > rule.high_from:
        problems.append("inference.function_rule: low_below lies above high_from")
    if site.inference.perfusion == "network" and site.inference.model_folder is None:
        problems.append("inference.model_folder: needed when perfusion = 'network'")
    if site.objects.content_qualification == "PRODUCT" and site.inference.perfusion == "densitometric":
        problems.append("objects.content_qualification: the densitometric baseline is not validated and no product")
    for destination in site.destinations:
        order = Order(tuple(destination.objects))
        problems += [f"destinations.{destination.name}.objects: {problem}" for problem in order.problems()]
    return tuple(problems)


def _profiles(site: SiteFile, base: Path) -> tuple[dict[str, StructureSetProfile], list[str]]:
    """The profile of each destination, and what is wrong with those that cannot be used."""
    profiles, problems = {}, []
    for destination in site.destinations:
        try:
            profiles[destination.name] = read_profile(destination.profile, base)
        except ValueError as fault:
            problems.append(f"destinations.{destination.name}.profile: {fault}")
    for name in sorted({p.name for p in profiles.values()}):
        if len({p.digest() for p in profiles.values() if p.name == name}) > 1:
            problems.append(f"destinations: two different profiles are both named {name}")
    return profiles, problems


def _settings(site: SiteFile, source: str, base: Path, profiles: Mapping[str, StructureSetProfile]) -> NodeSettings:
    node = site.node
    return NodeSettings(
        source=source,
        data_dir=base / node.data_dir,
        receiver=ReceiverSettings(
            ae_title=node.ae_title,
            host=node.host,
            port=node.port,
            require_called_ae_title=node.require_called_ae_title,
            accepted_calling_ae_titles=tuple(node.accepted_calling_ae_titles),
            maximum_associations=node.maximum_associations,
        ),
        quiet_period_s=node.quiet_period_s,
        minimum_free_mb=node.minimum_free_mb,
        destinations=tuple(
            Destination(d.name, AeAddress(d.ae_title, d.host, d.port), calling_ae_title=node.ae_title)
            for d in site.destinations
        ),
        orders={
            d.name: Order(tuple(dict.fromkeys(d.objects)), profiles[d.name], d.refusal_notice)
            for d in site.destinations
        },
        engine=_engine(site.inference, base),
        content_qualification=site.objects.content_qualification,
        stage_timeout_s=site.work.stage_timeout_s,
        stage_attempts=site.work.stage_attempts,
        retry_delays_s=tuple(site.work.retry_delays_s),
        log_level=site.log.level,
        log_format=site.log.format,
    )


def _engine(section: InferenceSection, base: Path) -> EngineSettings:
    rule = section.function_rule
    return EngineSettings(
        lobes=section.lobes,
        r231_weights=section.r231_weights and base / section.r231_weights,
        ltrclobes_weights=section.ltrclobes_weights and base / section.ltrclobes_weights,
        perfusion=section.perfusion,
        model_folder=section.model_folder and base / section.model_folder,
        device=section.device,
        function_rule=RULES[rule] if isinstance(rule, str) else FunctionRule(**rule.model_dump()),
    )
