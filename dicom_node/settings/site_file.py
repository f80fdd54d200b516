"""The site file as its tables and keys: what may be written, with which defaults. `config` turns it into settings.

pydantic stands only here and in `profile_files`, where text from outside enters; `configs/node/site.example.toml` says
in words what each key means.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from dicom_node.jobs.route_mode import RouteMode
from dicom_node.network.access import parse_network
from dicom_node.network.addresses import check_ae_title
from dicom_node.objects.kinds import ObjectKind
from dicom_node.settings.orders import DEFAULT_KINDS
from dicom_node.settings.rule_files import RuleSection
from dicom_node.settings.working_hours import WorkingHours
from inference.quality.findings import Severity
from inference.quality.policy import OtherRanges
from inference.volumes import FunctionBasis

AeTitle = Annotated[str, AfterValidator(check_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _checked_network(text: str) -> str:
    return str(parse_network(text))


Network = Annotated[str, AfterValidator(_checked_network)]


class Section(BaseModel):
    """A table of the site file; an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=False)


class NodeSection(Section):
    """Table `[node]`."""

    ae_title: AeTitle = "PERFNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    data_dir: Path = Path("perfnode-data")
    shared_dir: Path | None = None
    quiet_period_s: float = Field(default=60.0, ge=0.1, le=3600)
    minimum_free_mb: int = Field(default=2048, ge=0)
    also_called_ae_titles: list[AeTitle] = []
    require_called_ae_title: bool = True
    maximum_associations: int = Field(default=20, ge=1, le=1000)
    maximum_connections_per_address: int = Field(default=16, ge=1, le=1000)
    receiver_processes: int = Field(default=2, ge=1, le=16)


class DatabaseSection(Section):
    """Table `[database]`."""

    url: Annotated[str, StringConstraints(pattern=r"^(sqlite|postgresql://\S+)$")] = "sqlite"
    password_file: Path | None = None


class SenderSection(Section):
    """Table `[[senders]]`."""

    ae_title: AeTitle
    networks: list[Network] = Field(min_length=1)
    description: str = ""


class TlsSection(Section):
    """Table `[tls]`."""

    certificate: Path
    key: Path
    trusted: Path
    listen: bool = True
    require_client_certificate: bool = True
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    check_host_name: bool = False


class SyslogSection(Section):
    """Table `[audit.syslog]`."""

    transport: Literal["tls", "udp"]
    host: Annotated[str, StringConstraints(min_length=1)]
    port: Port | None = None
    trusted: Path | None = None
    check_host_name: bool = True


class AuditSection(Section):
    """Table `[audit]`."""

    patient_identifiers: Literal["pseudonyms", "plain"] = "pseudonyms"
    source_id: str | None = None
    enterprise_site_id: str | None = None
    syslog: SyslogSection | None = None


class CompletenessSection(Section):
    """Table `[completeness]`."""

    hold_limit_s: float = Field(default=3600.0, ge=0)
    count_from: str = ""
    count_wait_s: float = Field(default=300.0, gt=0)
    keep_unmatched_days: float = Field(default=14.0, gt=0)


class WorkSection(Section):
    """Table `[work]`."""

    stage_timeout_s: float = Field(default=1800.0, gt=0)
    timeouts_s: dict[
        Literal["read", "segment", "perfuse", "encode", "check", "notice", "candidate"], Annotated[float, Field(gt=0)]
    ] = {}
    stage_memory_mb: int = Field(default=16384, ge=512, le=4_000_000)
    read_memory_mb: int = Field(default=8192, ge=256, le=1_000_000)
    stage_attempts: int = Field(default=3, ge=1, le=20)
    retry_delays_s: list[Annotated[float, Field(gt=0)]] = Field(default=[10, 60, 300, 900, 3600], min_length=1)
    give_up_after_h: float = Field(default=72.0, gt=0)
    workers: int = Field(default=1, ge=1, le=64)
    gpus: list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")]] = []
    restart_limit: int = Field(default=20, ge=1, le=1000)


class RetentionSection(Section):
    """Table `[retention]`."""

    keep_days: float = Field(default=30.0, gt=0)
    keep_failed_days: float = Field(default=0.0, ge=0)
    minimum_free_mb: int | None = Field(default=None, ge=0)
    keep_results_days: float = Field(default=3650.0, ge=0)


_ABSENT = object()


def _present(value: Any) -> Any:
    if value is _ABSENT:
        raise ValueError("needed, or dicomweb_url for a DICOMweb service")
    return value


class CalledSection(Section):
    """What `[[destinations]]` and `[[peers]]` have in common: an application entity or a DICOMweb service."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    ae_title: Annotated[AeTitle | None, BeforeValidator(_present)] = None
    host: Annotated[str | None, BeforeValidator(_present)] = None
    port: Annotated[Port | None, BeforeValidator(_present)] = None
    tls: bool = False
    dicomweb_url: str | None = None
    token_file: Path | None = None
    password_file: Path | None = None
    headers_file: Path | None = None
    trusted: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _require_address(cls, values: Any) -> Any:
        """Without a URL the three keys of an application entity are needed; an absent one is a mistake."""
        if not isinstance(values, dict) or values.get("dicomweb_url") is not None:
            return values
        return {**dict.fromkeys(("ae_title", "host", "port"), _ABSENT), **values}

    def web_keys(self) -> list[str]:
        """Keys that are given and make sense for a DICOMweb service only."""
        keys = ("token_file", "password_file", "headers_file", "trusted", "client_certificate", "client_key")
        return [key for key in keys if getattr(self, key) is not None]


class PeerSection(CalledSection):
    """Table `[[peers]]`: an archive to ask and to fetch from."""

    retrieve: Literal["c-get", "c-move", "dicomweb"] = "c-get"
    response_timeout_s: float = Field(default=120.0, gt=0, le=3600)
    retrieve_timeout_s: float = Field(default=600.0, gt=0, le=86400)
    folder_ae_title: AeTitle | None = None
    folder_port: Port | None = None


class DestinationSection(CalledSection):
    """Table `[[destinations]]`."""

    objects: list[ObjectKind] = Field(default=list(DEFAULT_KINDS), min_length=1)
    verify: Literal["auto", "commitment", "find", "none"] = "auto"
    profile: str = "generic"
    refusal_notice: bool = True
    mode: RouteMode = RouteMode.LIVE


class FunctionRuleSection(Section):
    """A function rule of the site's own."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    basis: FunctionBasis
    high_from: float
    low_below: float
    smallest_island_ml: float = Field(default=0.5, ge=0)
    smallest_hole_ml: float = Field(default=0.2, ge=0)


class InferenceSection(Section):
    """Table `[inference]`."""

    lobes: Literal["atlas", "lungmask", "totalsegmentator"] = "atlas"
    model_store: Path | None = None
    r231_weights: Path | None = None
    ltrclobes_weights: Path | None = None
    lungmask_precision: Literal["exact", "fast"] = "exact"
    perfusion: Literal["bundle", "densitometric", "network"] = "bundle"
    model_folder: Path | None = None
    trusted_keys: list[Path] = []
    device: Literal["auto", "cpu", "cuda"] = "auto"
    function_rule: str | FunctionRuleSection = "median"
    subtract_structures: list[str] = []
    subtract_margin_mm: float = Field(default=0.0, ge=0, le=50)


class RangesSection(Section):
    """A row of `[quality.limits]`."""

    usual: tuple[float, float] | None = None
    possible: tuple[float, float] | None = None


class QualitySection(Section):
    """Table `[quality]`."""

    severities: dict[str, Severity] = {}
    limits: dict[str, RangesSection] = {}

    def ranges(self) -> dict[str, OtherRanges]:
        """The site's ranges by code."""
        return {code: OtherRanges(row.usual, row.possible) for code, row in self.limits.items()}


class InputSection(Section):
    """Table `[input]`."""

    lossy: Literal["refuse", "flag"] = "refuse"


class ObjectsSection(Section):
    """Table `[objects]`."""

    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = "RESEARCH"


class LogSection(Section):
    """Table `[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class StatusSection(Section):
    """Table `[status]`."""

    host: str = "127.0.0.1"
    port: Port | None = None


class OpenIdSection(Section):
    """Table `[web.openid]`."""

    issuer: Annotated[str, StringConstraints(min_length=1)]
    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret_file: Path | None = None
    scopes: list[str] = ["openid", "profile"]
    name_claim: Annotated[str, StringConstraints(min_length=1)] = "preferred_username"
    groups_claim: Annotated[str, StringConstraints(min_length=1)] = "groups"
    trusted: Path | None = None


HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")]


class ProxySection(Section):
    """Table `[web.proxy]`."""

    name_header: HeaderName = "X-Forwarded-User"
    groups_header: HeaderName = "X-Forwarded-Groups"


class GroupsSection(Section):
    """Table `[web.groups]`: groups of the hospital's directory by role."""

    viewer: list[str] = []
    operator: list[str] = []
    approver: list[str] = []
    administrator: list[str] = []


class WebSection(Section):
    """Table `[web]`."""

    host: str = "127.0.0.1"
    port: Port | None = None
    public_url: str = ""
    session_idle_minutes: float = Field(default=30.0, gt=0, le=1440)
    session_hours: float = Field(default=12.0, gt=0, le=168)
    sign_in: Literal["accounts", "openid", "proxy"] = "accounts"
    certificate: Path | None = None
    key: Path | None = None
    proxies: list[Network] = []
    allow_plain_http: bool = False
    openid: OpenIdSection | None = None
    proxy: ProxySection | None = None
    groups: GroupsSection = GroupsSection()


class WatchdogSection(Section):
    """Table `[watchdog]`."""

    every_s: float = Field(default=30.0, ge=0.5, le=600)
    failures: int = Field(default=3, ge=1, le=100)
    oldest_job_h: float = Field(default=4.0, gt=0)
    quiet_working_hours: float = Field(default=0.0, ge=0)
    working_days: list[str] = ["mon", "tue", "wed", "thu", "fri"]
    working_hours: str = "07:00-18:00"

    @model_validator(mode="after")
    def _check_hours(self) -> Self:
        self.hours()
        return self

    def hours(self) -> WorkingHours:
        """The working hours of the site."""
        return WorkingHours.parse(self.working_days, self.working_hours)


class SelfTestSection(Section):
    """Table `[self_test]`."""

    every_h: float = Field(default=24.0, ge=0, le=8760)
    first_after_s: float = Field(default=900.0, ge=0)
    answer_within_s: float = Field(default=3600.0, gt=0)
    destination: str = ""


class AlertSection(Section):
    """Table `[[alerts]]`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    url_file: Path
    events: list[Literal["failed", "held", "late", "node"]] = ["failed", "held", "late", "node"]
    trusted: Path | None = None


class SiteFile(Section):
    """The whole file."""

    node: NodeSection = NodeSection()
    database: DatabaseSection = DatabaseSection()
    senders: list[SenderSection] = []
    tls: TlsSection | None = None
    audit: AuditSection = AuditSection()
    work: WorkSection = WorkSection()
    completeness: CompletenessSection = CompletenessSection()
    retention: RetentionSection = RetentionSection()
    rules: list[RuleSection] = []
    destinations: list[DestinationSection] = []
    peers: list[PeerSection] = []
    input: InputSection = InputSection()
    inference: InferenceSection = InferenceSection()
    quality: QualitySection = QualitySection()
    objects: ObjectsSection = ObjectsSection()
    log: LogSection = LogSection()
    status: StatusSection = StatusSection()
    web: WebSection = WebSection()
    watchdog: WatchdogSection = WatchdogSection()
    self_test: SelfTestSection = SelfTestSection()
    alerts: list[AlertSection] = []
