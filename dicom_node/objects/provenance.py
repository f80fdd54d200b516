"""Who made a result, from what, and that it is for research: what every object says in the same words.

`source_series` knows the CT; `Equipment` and `ResultContext` say which software, models and settings made the result,
what a reader must know of it, and which earlier objects it supersedes. Our own texts are ASCII.
"""

import hashlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Self

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from dicom_node.objects.codes import ACQUISITION_EQUIPMENT, SUPERSEDED_RESULT, private_scheme
from dicom_node.objects.identifiers import Identifiers
from dicom_node.objects.kinds import ObjectRole
from dicom_node.objects.source_series import EQUIPMENT, SourceSeries
from dicom_node.reception.part10 import IMPLEMENTATION_CLASS_UID
from inference.ct.series import content_digest
from inference.model_card import ModelIdentity
from inference.quality.findings import Finding, Severity
from inference.volumes import CtVolume

if TYPE_CHECKING:  # objects need the fields of a result, not the engine and what it loads
    from inference.engine import PerfusionResult


SHADOW_MODEL = "SHADOW_MODEL"
"""Code of the finding that says that a result is of a model in shadow."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """The software that makes the objects (PS3.3 C.7.5.1 and C.7.5.2)."""

    software_version: str
    manufacturer: str = "perfusion-node"
    model_name: str = "perfusion-node"
    serial_number: str = "none"

    def file_meta(self, sop_class_uid: UID, sop_instance_uid: str, transfer_syntax_uid: UID) -> FileMetaDataset:
        """File meta information that names this implementation (PS3.10 7.1)."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = sop_class_uid
        meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
        meta.TransferSyntaxUID = transfer_syntax_uid
        meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
        meta.ImplementationVersionName = ascii_text(f"PERFNODE_{self.software_version}", 16)
        return meta


@dataclass(frozen=True, slots=True)
class EarlierInstance:
    """An object of the result that this one supersedes."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The identity of a written object."""
        return cls(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID))

    def reference(self) -> Dataset:
        """The instance as an item of a reference sequence (PS3.3 table 10-11)."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class_uid
        item.ReferencedSOPInstanceUID = self.sop_instance_uid
        return item


@dataclass(frozen=True, slots=True, eq=False)
class ResultContext:
    """What every encoder needs besides the volumes."""

    source: SourceSeries
    equipment: Equipment
    identifiers: Identifiers
    segmenter: ModelIdentity
    perfusion_model: ModelIdentity
    findings: tuple[Finding, ...] = ()
    """What the checks of input and result found; each sentence is written into the objects."""
    content_qualification: str = "RESEARCH"
    """(0018,9004); texts say RESEARCH whatever a site writes here."""
    earlier: Mapping[str, EarlierInstance] = field(default_factory=dict)
    """Objects of the superseded result, by the text of their role; empty for the first result of a CT."""
    in_use: ModelIdentity | None = None
    """For objects of a model in shadow: the model that makes the maps. None for those of that model itself."""

    def superseding(self, result_id: str, objects: Mapping[str, EarlierInstance]) -> Self:
        """The same context for a result that supersedes another one: other UIDs, and references to the old objects."""
        return replace(self, identifiers=replace(self.identifiers, predecessor=result_id), earlier=objects)

    def in_shadow_of(self, in_use: ModelIdentity) -> Self:
        """The same context for a model in shadow: UIDs that no result in use can have, and every object says so.

        Should the model be promoted later, it makes the same voxels of the same CT; the objects still differ.
        """
        digests = (*self.identifiers.model_digests, "in shadow")
        return replace(self, in_use=in_use, identifiers=replace(self.identifiers, model_digests=digests))

    def earlier_instance(self, role: ObjectRole) -> EarlierInstance | None:
        """The object that the one of this role supersedes; only its first instance where there are many."""
        return self.earlier.get(str(role))

    def describe_series(self, target: Dataset, role: ObjectRole, index: int = 1) -> None:
        """Write SOP class and the UIDs, modality, number and description of the role's series."""
        target.SOPClassUID = role.series.sop_class_uid
        target.SOPInstanceUID = self.identifiers.instance_uid(role, index)
        target.SeriesInstanceUID = self.identifiers.series_uid(role)
        target.Modality = role.series.modality
        target.SeriesNumber = role.series.series_number
        part = f", {role.part}" if role.part else ""
        description = role.series.series_description
        if self.in_use is not None:
            description = description.replace("RESEARCH", "RESEARCH SHADOW", 1)
        target.SeriesDescription = ascii_text(f"{description}{part}", 64)
        target.InstanceNumber = index

    def refer_to_earlier_image(self, target: Dataset, role: ObjectRole) -> None:
        """Name the image that this one supersedes (PS3.3 C.12.4, General Reference)."""
        if earlier := self.earlier_instance(role):
            item = earlier.reference()
            item.PurposeOfReferenceCodeSequence = [SUPERSEDED_RESULT.dataset()]
            target.ReferencedInstanceSequence = [item]
            target.CodingSchemeIdentificationSequence = [private_scheme()]

    def describe_maker(self, target: Dataset) -> None:
        """Write equipment, versions of software, models and settings, the scanner, dates and content qualification."""
        made_by = self.equipment
        target.Manufacturer = made_by.manufacturer
        target.ManufacturerModelName = made_by.model_name
        target.DeviceSerialNumber = made_by.serial_number
        versions = (
            f"perfusion-node {made_by.software_version}",
            self.perfusion_model.label(),
            self.segmenter.label(),
            f"settings {self.identifiers.settings_sha256[:12]}",
            *([f"SHADOW; in use is {self.in_use.label()}"] if self.in_use is not None else []),
        )
        target.SoftwareVersions = [ascii_text(version, 64) for version in versions]
        target.ContentQualification = self.content_qualification
        target.SeriesDate, target.SeriesTime = self.source.date_and_time()
        scanner = self.source.representative
        if scanner.get("Manufacturer"):  # Type 1 in the item
            item = Dataset()
            for keyword in EQUIPMENT:
                if scanner.get(keyword):
                    item[keyword] = deepcopy(scanner[keyword])
            item.PurposeOfReferenceCodeSequence = [ACQUISITION_EQUIPMENT.dataset()]
            target.ContributingEquipmentSequence = [item]

    def file_meta(self, sop_class_uid: UID, sop_instance_uid: str, transfer_syntax_uid: UID) -> FileMetaDataset:
        """File meta information that names this implementation (PS3.10 7.1)."""
        return self.equipment.file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)

    def caveats(self) -> str:
        """What a reader must know about models and this result, in sentences; empty when there is nothing to say."""
        models = (self.perfusion_model.caveat, self.segmenter.caveat)
        urgent = sorted(self.findings, key=lambda finding: finding.severity is not Severity.FLAG)
        return " ".join(dict.fromkeys(s for s in (*models, *(finding.sentence for finding in urgent)) if s))


def result_context(
    ct: CtVolume,
    datasets: Iterable[Dataset],
    result: "PerfusionResult",
    settings_sha256: str,
    *,
    content_qualification: str = "RESEARCH",
) -> ResultContext:
    """The context of a result, with the UIDs that follow from everything that shapes its objects.

    Args:
        ct: the CT that the result was made from; its voxels go into the digest.
        datasets: the received instances or their headers, in any order.
        result: what the engine made of `ct`.
        settings_sha256: digest of the settings that shape result and objects.
        content_qualification: (0018,9004) of every object.

    Raises:
        EncodingError: see `SourceSeries.of`.
    """
    source = SourceSeries.of(datasets, ct.source, ct.lossy)
    segmenter, model = result.lobes.segmenter, result.perfusion.model
    node_version = software_version()
    identifiers = Identifiers(
        source_sha256=hashlib.sha256(f"{source.sha256()} {content_digest(ct)}".encode()).hexdigest(),
        software_version=node_version,
        model_digests=tuple(part for m in (segmenter, model) for part in (m.name, m.version, m.weights_sha256)),
        settings_sha256=settings_sha256,
        content_sha256=result.content_sha256(),
    )
    if result.excluded_sha256:
        identifiers = identifiers.including(result.excluded_sha256)
    return ResultContext(
        source=source,
        equipment=Equipment(node_version),
        identifiers=identifiers,
        segmenter=segmenter,
        perfusion_model=model,
        findings=result.findings,
        content_qualification=content_qualification,
    )


def software_version() -> str:
    """Version of the installed `perfusion-node`; `0` when it runs from a source tree that is not installed."""
    try:
        return version("perfusion-node")
    except PackageNotFoundError:
        return "0"


def ascii_text(text: str, limit: int) -> str:
    """A text of ours for an attribute of at most `limit` characters: ASCII, no backslash, cut with dots if longer."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "/")
    return plain if len(plain) <= limit else plain[: limit - 3].rstrip() + "..."
