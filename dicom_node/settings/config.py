"""The site's TOML file → frozen settings, with every mistake reported at once.

Text from outside is checked by pydantic here (and in `profile_files`) and turned into the frozen types that the rest of
the node works with. Every key has a default except the destinations; `configs/node/site.example.toml` documents each.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from dicom_node.audit.syslog import TLS_PORT, UDP_PORT, SyslogServer
from dicom_node.audit.trail import AuditSettings, AuditTrail, audit_folder
from dicom_node.errors import ConfigurationError
from dicom_node.jobs.case_choice import NO_CHOICE, CaseChoice
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.jobs.retry_policy import RetryPolicy
from dicom_node.jobs.route_mode import RESULTLESS, RouteMode
from dicom_node.network.access import AccessPolicy, Sender, own_networks, parse_network
from dicom_node.network.delivery import Destination
from dicom_node.network.query import ArchivePeer
from dicom_node.network.receiver import ReceiverSettings
from dicom_node.network.requestor import Peer
from dicom_node.network.tls import TlsSettings
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.objects.kinds import ObjectRole
from dicom_node.objects.profile import StructureSetProfile
from dicom_node.reception.completeness import CompletenessSettings
from dicom_node.reception.rules import Rule
from dicom_node.settings.alert_settings import Alert, AlertEvent
from dicom_node.settings.orders import Order
from dicom_node.settings.peer_settings import destination_of, peer_of, peer_problems
from dicom_node.settings.profile_files import read_profile
from dicom_node.settings.retention_policy import RetentionPolicy
from dicom_node.settings.rule_files import default_rules, rule_mistakes
from dicom_node.settings.site_file import (
    DatabaseSection,
    FunctionRuleSection,
    InferenceSection,
    NodeSection,
    SenderSection,
    SiteFile,
    TlsSection,
    WatchdogSection,
    WorkSection,
)
from dicom_node.settings.site_keys import SiteKey, site_keys
from dicom_node.settings.stage_limits import StageLimits
from dicom_node.settings.watch_settings import SelfTestSettings, StatusSettings, WatchdogSettings
from dicom_node.settings.web_settings import WebSettings, web_problems, web_settings
from dicom_node.settings.work_settings import WorkSettings
from dicom_node.structures.subtraction import SubtractionRule, pattern_problem
from inference.engine import EngineSettings
from inference.function_regions import RULES
from inference.quality.policy import QualityPolicy
from inference.quality.policy import problems as policy_problems
from inference.volumes import FunctionRule
from inference.weights.model_store import ModelStore

if TYPE_CHECKING:  # most of who reads the settings wants no model
    from inference.models.registry import ModelRegistry

_NO_PRODUCT = {
    "densitometric": "the densitometric baseline is not validated",
    "bundle": "a model bundle is for research (qualification in its manifest)",
}


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Everything the node needs to know about its site."""

    source: str
    """The file the settings came from, for messages."""
    data_dir: Path
    """What belongs to this host: spool, audit trail, SQLite; on a local disk."""
    shared_dir: Path
    """What belongs to all hosts of the node: cases, results, structure sets, commitments. One host needs only one."""
    database: JobDatabase
    """Where the durable engine keeps its rows."""
    receiver: ReceiverSettings
    tls: TlsSettings | None
    """Our TLS identity, for the receiver (unless `listen = false`) and for peers with `tls = true`."""
    audit: AuditSettings
    """How the audit trail is kept."""
    completeness: CompletenessSettings
    """When a series is taken as complete."""
    rules: tuple[Rule, ...]
    """Which series are processed; the first rule that takes a series decides."""
    minimum_free_mb: int
    """Below this much free disk nothing is accepted."""
    destinations: tuple[Destination | DicomwebPeer, ...]
    peers: tuple[ArchivePeer | DicomwebPeer, ...]
    """Archives to ask and to fetch from."""
    orders: Mapping[str, Order]
    """What each destination gets; many planning systems refuse Parametric Maps."""
    modes: Mapping[str, RouteMode]
    """How far results go on their way to each destination."""
    accept_lossy: bool
    """Whether images that were compressed with loss are received and read; the result then says so."""
    engine: EngineSettings
    subtraction: SubtractionRule
    """Structures that are taken out of the function regions."""
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"]
    """(0018,9004) of every object."""
    limits: StageLimits
    """What a stage of a case may take."""
    retry: RetryPolicy
    """How often and how long deliveries are tried."""
    work: WorkSettings
    """Which processes do the work of this host."""
    retention: RetentionPolicy
    """How long finished cases are kept."""
    log_level: str
    log_format: str
    status: StatusSettings
    """Where the node shows how it is."""
    watchdog: WatchdogSettings
    """How it watches itself."""
    self_test: SelfTestSettings
    """When it sends itself the digital thorax."""
    alerts: tuple[Alert, ...]
    """Whom it tells of what."""
    web: WebSettings
    """The operator's page."""
    keys: tuple[SiteKey, ...] = ()
    """Every key of the site file with what is in force, for people; without secrets."""
    source_sha256: str = ""
    """Digest of the site file as it was read; empty for settings that came from no file."""
    choice: CaseChoice = NO_CHOICE
    """What a person chose for the one case that these settings are for (`case_settings`)."""

    def settings_digest(self) -> str:
        """SHA-256 over what changes the content of a result; part of every UID."""
        facts = {
            "engine": self.engine.settings_digest(),
            "content_qualification": self.content_qualification,
        }
        if self.subtraction.is_set:
            facts["subtraction"] = self.subtraction.digest()
        if self.choice.is_made:
            facts["choice"] = self.choice.digest()
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def cases(self) -> CaseStore:
        """The cases of this node."""
        return CaseStore.under(self.shared_dir)

    def roles(self) -> dict[ObjectRole, StructureSetProfile]:
        """Every object that some destination ordered, with its profile; without destinations, the usual ones."""
        off = [name for name, mode in self.modes.items() if mode in RESULTLESS]
        wanted = tuple(order for name, order in self.orders.items() if name not in off) or (Order(),)
        return {role: order.profile for order in wanted for role in order.roles()}

    def model_store(self) -> ModelStore:
        """Where weights of lobe engines lie; `perfnode models` puts them there."""
        return ModelStore(self.engine.model_store or self.data_dir / "models")

    def model_registry(self) -> "ModelRegistry":
        """Models that this site may put into force; all hosts of the node share them."""
        from inference.models.registry import ModelRegistry

        return ModelRegistry(self.engine.model_registry or self.shared_dir / "perfusion-models")

    def audit_trail(self) -> AuditTrail:
        """The audit trail of this node."""
        return AuditTrail(audit_folder(self.data_dir), self.receiver.ae_title, self.audit)

    def peer(self, name: str) -> Peer | DicomwebPeer:
        """The peer or destination of that name; `KeyError` if the site has none."""
        for peer in (*self.peers, *self.destinations):
            if peer.name == name:
                return peer
        raise KeyError(name)

    def called_entities(self) -> tuple[Peer, ...]:
        """The application entities that we can call, destinations first."""
        return tuple(peer for peer in (*self.destinations, *self.peers) if isinstance(peer, Peer))

    def destination(self, name: str) -> Destination | DicomwebPeer:
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
        content = path.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigurationError(str(path), (f"the file cannot be read: {fault}",)) from fault
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigurationError(str(path), (f"not valid TOML: {fault}",)) from fault
    settings = parse_settings(document, source=str(path), base=path.parent)
    return replace(settings, source_sha256=hashlib.sha256(content).hexdigest())


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
    folder = base.resolve()
    found = (*_contradictions(site), *peer_problems(site, folder), *alert_problems(site, folder))
    found = (*found, *web_problems(site.web, folder))
    if problems := (*found, *wrong):
        raise ConfigurationError(source, problems)
    return _settings(site, source, base.resolve(), profiles)


def _problem(location: tuple[str | int, ...], message: str) -> str:
    return f"{'.'.join(str(part) for part in location)}: {message}"


def _contradictions(site: SiteFile) -> tuple[str, ...]:
    """Mistakes that no single key shows."""
    problems = []
    names = [d.name for d in site.destinations]
    problems += [f"destinations: the name {n} occurs twice" for n in sorted({n for n in names if names.count(n) > 1})]
    if site.audit.syslog is not None and site.audit.syslog.transport == "tls" and site.tls is None:
        problems.append("audit.syslog.transport: 'tls' needs the table [tls] with our certificate")
    problems += _database_problems(site)
    gpus = site.work.gpus
    problems += [f"work.gpus: {gpu} occurs twice" for gpu in sorted({gpu for gpu in gpus if gpus.count(gpu) > 1})]
    rule = site.inference.function_rule
    if isinstance(rule, str) and rule not in RULES:
        problems.append(f"inference.function_rule: unknown rule {rule!r}; known are {', '.join(sorted(RULES))}")
    if isinstance(rule, FunctionRuleSection) and rule.low_below > rule.high_from:
        problems.append("inference.function_rule: low_below lies above high_from")
    problems += [
        f"inference.subtract_structures: {pattern!r} is no regular expression: {problem}"
        for pattern in site.inference.subtract_structures
        if (problem := pattern_problem(pattern))
    ]
    if site.inference.subtract_margin_mm and not site.inference.subtract_structures:
        problems.append("inference.subtract_margin_mm: there is nothing to subtract; name it in subtract_structures")
    if site.inference.perfusion == "network" and site.inference.model_folder is None:
        problems.append("inference.model_folder: needed when perfusion = 'network'")
    problems += [f"quality.{problem}" for problem in policy_problems(site.quality.severities, site.quality.ranges())]
    if site.objects.content_qualification == "PRODUCT" and site.inference.perfusion != "network":
        problems.append(f"objects.content_qualification: {_NO_PRODUCT[site.inference.perfusion]} and no product")
    problems += rule_mistakes(site.rules)
    known = {peer.name for peer in (*site.peers, *site.destinations)}
    if (asked := site.completeness.count_from) and asked not in known:
        problems.append(f"completeness.count_from: there is no peer and no destination named {asked!r}")
    live = [destination.name for destination in site.destinations if destination.mode is RouteMode.LIVE]
    if (named := site.self_test.destination) and named not in live:
        problems.append(f"self_test.destination: there is no destination of mode live named {named!r}")
    for destination in site.destinations:
        if destination.tls and site.tls is None:
            problems.append(f"destinations.{destination.name}.tls: true needs the table [tls] with our certificate")
        order = Order(tuple(destination.objects))
        problems += [f"destinations.{destination.name}.objects: {problem}" for problem in order.problems()]
    return tuple(problems)


def _database_problems(site: SiteFile) -> list[str]:
    url, problems = site.database.url, []
    if url == "sqlite" and site.node.shared_dir is not None:
        problems.append("node.shared_dir: several hosts need a server; set database.url to postgresql://…")
    if url == "sqlite" and site.database.password_file is not None:
        problems.append("database.password_file: SQLite has no password")
    if url != "sqlite" and urlsplit(url).password is not None:
        problems.append("database.url: holds a password; put it into a file and name that as password_file")
    return problems


def alert_problems(site: SiteFile, base: Path) -> list[str]:
    """What is wrong with `[[alerts]]`: names that occur twice, files that are not there or hold no address."""
    names = [alert.name for alert in site.alerts]
    problems = [f"alerts: the name {n} occurs twice" for n in sorted({n for n in names if names.count(n) > 1})]
    for alert in site.alerts:
        where = f"alerts.{alert.name}"
        try:
            Alert(alert.name, base / alert.url_file, ()).address()
        except (OSError, ValueError) as fault:
            why = fault.strerror if isinstance(fault, OSError) else str(fault)
            problems.append(f"{where}.url_file: {base / alert.url_file}: {why}")
        if alert.trusted is not None and not (base / alert.trusted).is_file():
            problems.append(f"{where}.trusted: there is no {base / alert.trusted}")
    return problems


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
    node, tls = site.node, _tls(site.tls, base)
    return NodeSettings(
        source=source,
        data_dir=base / node.data_dir,
        shared_dir=base / (node.shared_dir or node.data_dir),
        database=_database(site.database, base / node.data_dir, base),
        receiver=ReceiverSettings(
            ae_title=node.ae_title,
            host=node.host,
            port=node.port,
            access=_access(node, site.senders),
            tls=tls if site.tls is not None and site.tls.listen else None,
            accept_lossy=site.input.lossy == "flag",
            processes=node.receiver_processes,
            maximum_associations=node.maximum_associations,
            maximum_connections_per_address=node.maximum_connections_per_address,
        ),
        tls=tls,
        audit=_audit(site, base),
        completeness=CompletenessSettings(quiet_period_s=node.quiet_period_s, **site.completeness.model_dump()),
        rules=tuple(section.rule() for section in site.rules) or default_rules(),
        minimum_free_mb=node.minimum_free_mb,
        destinations=tuple(destination_of(d, node.ae_title, tls, base) for d in site.destinations),
        peers=tuple(peer_of(p, node.ae_title, tls, base) for p in site.peers),
        orders={
            d.name: Order(tuple(dict.fromkeys(d.objects)), profiles[d.name], d.refusal_notice)
            for d in site.destinations
        },
        modes={d.name: d.mode for d in site.destinations},
        accept_lossy=site.input.lossy == "flag",
        engine=replace(
            _engine(site.inference, base, base / node.data_dir),
            quality=QualityPolicy.of(site.quality.severities, site.quality.ranges()),
            model_registry=base / (node.shared_dir or node.data_dir) / "perfusion-models",
        ),
        subtraction=SubtractionRule(tuple(site.inference.subtract_structures), site.inference.subtract_margin_mm),
        content_qualification=site.objects.content_qualification,
        limits=_limits(site.work),
        retention=_retention(site),
        retry=RetryPolicy(tuple(site.work.retry_delays_s), 3600.0 * site.work.give_up_after_h),
        work=WorkSettings(site.work.workers, tuple(site.work.gpus), site.work.restart_limit),
        log_level=site.log.level,
        log_format=site.log.format,
        status=StatusSettings(site.status.host, site.status.port),
        watchdog=_watchdog(site.watchdog),
        self_test=SelfTestSettings(**site.self_test.model_dump()),
        alerts=tuple(
            Alert(a.name, base / a.url_file, tuple(AlertEvent(e) for e in a.events), a.trusted and base / a.trusted)
            for a in site.alerts
        ),
        web=web_settings(site.web, base),
        keys=site_keys(site),
    )


def _watchdog(section: WatchdogSection) -> WatchdogSettings:
    return WatchdogSettings(
        every_s=section.every_s,
        failures=section.failures,
        oldest_job_h=section.oldest_job_h,
        quiet_h=section.quiet_working_hours,
        hours=section.hours(),
    )


def _limits(section: WorkSection) -> StageLimits:
    return StageLimits(
        timeout_s=section.stage_timeout_s,
        timeouts_s={str(stage): limit_s for stage, limit_s in section.timeouts_s.items()},
        memory_mb=section.stage_memory_mb,
        read_memory_mb=section.read_memory_mb,
        attempts=section.stage_attempts,
    )


def _retention(site: SiteFile) -> RetentionPolicy:
    section, minimum_free_mb = site.retention, site.retention.minimum_free_mb
    return RetentionPolicy(
        section.keep_days,
        section.keep_failed_days,
        # The node refuses images below its own limit: room is made well before.
        2.0 * site.node.minimum_free_mb if minimum_free_mb is None else float(minimum_free_mb),
        section.keep_results_days,
    )


def _database(section: DatabaseSection, data_dir: Path, base: Path) -> JobDatabase:
    if section.url == "sqlite":
        return JobDatabase.under(data_dir)
    return server_database(section.url, section.password_file and base / section.password_file)


def _access(node: NodeSection, senders: list[SenderSection]) -> AccessPolicy:
    return AccessPolicy(
        node.ae_title,
        also_called=tuple(node.also_called_ae_titles),
        require_called_ae_title=node.require_called_ae_title,
        own_networks=own_networks(node.host),
        senders=tuple(Sender(s.ae_title, tuple(parse_network(n) for n in s.networks)) for s in senders),
    )


def _tls(section: TlsSection | None, base: Path) -> TlsSettings | None:
    if section is None:
        return None
    return TlsSettings(
        certificate=base / section.certificate,
        key=base / section.key,
        trusted=base / section.trusted,
        require_client_certificate=section.require_client_certificate,
        check_host_name=section.check_host_name,
        minimum_version=section.minimum_version,
    )


def _audit(site: SiteFile, base: Path) -> AuditSettings:
    section, server = site.audit, None
    if (syslog := section.syslog) is not None:
        port = syslog.port or (TLS_PORT if syslog.transport == "tls" else UDP_PORT)
        tls = _tls(site.tls, base) if syslog.transport == "tls" else None
        if tls is not None:
            trusted = base / syslog.trusted if syslog.trusted else tls.trusted
            tls = replace(tls, trusted=trusted, check_host_name=syslog.check_host_name)
        server = SyslogServer(syslog.transport, syslog.host, port, tls)
    return AuditSettings(
        source_id=section.source_id,
        enterprise_site_id=section.enterprise_site_id,
        plain_identifiers=section.patient_identifiers == "plain",
        syslog=server,
    )


def _engine(section: InferenceSection, base: Path, data_dir: Path) -> EngineSettings:
    rule = section.function_rule
    return EngineSettings(
        lobes=section.lobes,
        model_store=base / section.model_store if section.model_store else data_dir / "models",
        r231_weights=section.r231_weights and base / section.r231_weights,
        ltrclobes_weights=section.ltrclobes_weights and base / section.ltrclobes_weights,
        lungmask_precision=section.lungmask_precision,
        perfusion=section.perfusion,
        model_folder=section.model_folder and base / section.model_folder,
        trusted_keys=tuple(base / key for key in section.trusted_keys),
        device=section.device,
        function_rule=RULES[rule] if isinstance(rule, str) else FunctionRule(**rule.model_dump()),
    )
