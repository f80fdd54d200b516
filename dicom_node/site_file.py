"""The site file as its tables and keys: what may be written, with which defaults. `config` turns it into settings.

pydantic stands only here and in `profile_files`, where text from outside enters; `configs/node/site.example.toml` says
in words what each key means.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from dicom_node.network.addresses import check_ae_title
from dicom_node.objects.kinds import ObjectKind
from dicom_node.orders import DEFAULT_KINDS
from inference.volumes import FunctionBasis

AeTitle = Annotated[str, AfterValidator(check_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A table of the site file; an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=False)


class NodeSection(Section):
    """Table `[node]`."""

    ae_title: AeTitle = "PERFNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    data_dir: Path = Path("perfnode-data")
    quiet_period_s: float = Field(default=10.0, ge=0.1, le=3600)
    minimum_free_mb: int = Field(default=2048, ge=0)
    require_called_ae_title: bool = True
    accepted_calling_ae_titles: list[AeTitle] = []
    maximum_associations: int = Field(default=20, ge=1, le=1000)


class WorkSection(Section):
    """Table `[work]`."""

    stage_timeout_s: float = Field(default=1800.0, gt=0)
    stage_attempts: int = Field(default=3, ge=1, le=20)
    retry_delays_s: list[Annotated[float, Field(gt=0)]] = Field(default=[10, 60, 300, 900, 3600], min_length=1)


class DestinationSection(Section):
    """Table `[[destinations]]`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    ae_title: AeTitle
    host: str
    port: Port
    objects: list[ObjectKind] = Field(default=list(DEFAULT_KINDS), min_length=1)
    profile: str = "generic"
    refusal_notice: bool = True


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

    lobes: Literal["atlas", "lungmask"] = "atlas"
    r231_weights: Path | None = None
    ltrclobes_weights: Path | None = None
    perfusion: Literal["densitometric", "network"] = "densitometric"
    model_folder: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    function_rule: str | FunctionRuleSection = "median"


class ObjectsSection(Section):
    """Table `[objects]`."""

    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = "RESEARCH"


class LogSection(Section):
    """Table `[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class SiteFile(Section):
    """The whole file."""

    node: NodeSection = NodeSection()
    work: WorkSection = WorkSection()
    destinations: list[DestinationSection] = []
    inference: InferenceSection = InferenceSection()
    objects: ObjectsSection = ObjectsSection()
    log: LogSection = LogSection()
