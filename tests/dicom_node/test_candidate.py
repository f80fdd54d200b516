"""The model in shadow on a CT: its objects say what they are, nothing of the case changes, and figures are kept."""

import hashlib
import json
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset

from dicom_node.checks.check import check_files
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.route_mode import RouteMode
from dicom_node.jobs.stages import Stage
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind, ObjectRole
from dicom_node.objects.provenance import result_context
from dicom_node.pipeline import STAGES, case_headers
from dicom_node.results.result_files import read_ct, read_result
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.shadow.comparisons import CaseComparison, Comparisons
from inference.ct.instances import ct_instances
from inference.errors import ModelAltered
from inference.model_card import ModelIdentity
from inference.models.shadow import end_shadow, start_shadow
from inference.models.shipped import trusted_keys
from inference.models.signature import PUBLIC_SUFFIX
from inference.phantom.thorax import DigitalThorax
from tests.rt_structures import written
from tests.stand_in_models import density_files, stand_in_bundle, stand_in_key

EVERYTHING = [kind.value for kind in ObjectKind if kind is not ObjectKind.REFUSAL_NOTICE]
IN_USE = ModelIdentity("densitometric-baseline", "1")
RUN = (Stage.READ, Stage.SEGMENT, Stage.PERFUSE, Stage.ENCODE, Stage.CHECK)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> NodeSettings:
    """The baseline makes the maps, for `pacs`; a stand-in model runs in shadow, for `lab`."""
    folder = tmp_path_factory.mktemp("site")
    peer = {"ae_title": "X", "host": "127.0.0.1", "port": 104}
    own = Path(f"{stand_in_key(folder)}{PUBLIC_SUFFIX}")
    found = parse_settings(
        {
            "node": {"data_dir": str(folder / "data")},
            "inference": {"perfusion": "densitometric", "trusted_keys": [str(own)], "device": "cpu"},
            "destinations": [
                {"name": "pacs", "objects": ["parametric-map"], **peer},
                {"name": "lab", "mode": "research", "objects": EVERYTHING, **peer},
            ],
        }
    )
    stand_in_bundle(folder / "bundle", folder / "site.pem", density_files(1), "2")
    registry = found.model_registry()
    model = registry.take(folder / "bundle", trusted_keys([own]))
    start_shadow(registry, model, IN_USE, [own], by="Ann", destination="lab")
    return found


@dataclass(frozen=True)
class Delivered:
    """A case with what it was before and after the stage `candidate` ran the first time."""

    case: CaseFolder
    before: dict[Path, str]
    after: dict[Path, str]
    made: dict[str, bytes]
    """Objects of the model in shadow, by name of file."""

    def objects(self) -> list[FileDataset]:
        return [dcmread(BytesIO(content)) for content in self.made.values()]


@pytest.fixture(scope="module")
def delivered(settings: NodeSettings, thorax: DigitalThorax) -> Delivered:
    """A case that went all its way, with the digest of each of its files, and then through the stage `candidate`."""
    case = settings.cases().folder("case")
    for number, dataset in enumerate(ct_instances(thorax.ct)):
        written(dataset, case.received / f"{number:04d}.dcm")
    for stage in RUN:
        STAGES[stage](case, settings)
    before = digests(case)
    STAGES[Stage.CANDIDATE](case, settings)
    made = {path.name: path.read_bytes() for path in case.beside().object_paths()}
    return Delivered(case, before, digests(case), made)


def digests(case: CaseFolder) -> dict[Path, str]:
    """Of every file of a case and of the ledger, without what belongs to a model in shadow."""
    files = [path for folder in (case.path, case.ledger) for path in folder.rglob("*") if path.is_file()]
    own = [path for path in files if case.beside().path not in path.parents and path.name != "ladder-candidate.json"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in own}


def comparisons(settings: NodeSettings) -> list[CaseComparison]:
    registry = settings.model_registry()
    return list(Comparisons(registry.folder, registry.find("stand-in").content_sha256).all())


def test_nothing_of_the_case_changes(delivered: Delivered) -> None:
    assert delivered.after == delivered.before
    assert [path.name for path in delivered.case.object_paths()] == [
        "parametric-map.dcm"
    ]  # a research order makes none here


def test_every_object_says_research_shadow_and_which_model_is_in_use_instead(
    delivered: Delivered, settings: NodeSettings
) -> None:
    made = delivered.objects()
    assert {str(d.SOPClassUID) for d in made} == {str(OBJECT_SERIES[ObjectKind(k)].sop_class_uid) for k in EVERYTHING}
    label = settings.model_registry().find("stand-in").content_sha256[:12]
    for dataset in made:
        description = str(dataset.SeriesDescription)
        assert description.startswith("RESEARCH SHADOW ")
        assert len(description) <= 64
        assert not description.endswith("...")
        versions = list(dataset.SoftwareVersions)
        assert f"stand-in 2 ({label})" in versions
        assert any(text.startswith("SHADOW; in use is densitometric") for text in versions)
        assert dataset.ContentQualification == "RESEARCH" if "ContentQualification" in dataset else True
    for name, content in delivered.made.items():
        assert b"not in use here" in content or name == "summary-pdf.dcm", name  # its page is compressed


def test_its_uids_are_those_of_no_result_also_when_its_model_is_promoted_later(
    delivered: Delivered, settings: NodeSettings
) -> None:
    case = delivered.case
    in_use, made = [dcmread(path) for path in case.object_paths()], delivered.objects()
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert {d[keyword].value for d in in_use}.isdisjoint({d[keyword].value for d in made})
    result = read_result(case.result)
    plain = result_context(read_ct(case.ct), case_headers(case), result, settings.settings_digest())
    shadowed = plain.in_shadow_of(IN_USE)
    assert plain.identifiers.result_id != shadowed.identifiers.result_id
    role = ObjectRole(ObjectKind.PARAMETRIC_MAP)
    assert plain.identifiers.instance_uid(role) != shadowed.identifiers.instance_uid(role)
    assert not any(supersedes(dataset) for dataset in made)


def supersedes(dataset: Dataset) -> bool:
    return "PredecessorDocumentsSequence" in dataset or "110514" in str(dataset.get("ReferencedInstanceSequence", ""))


def test_its_objects_are_valid_beside_their_ct_and_made_again_are_the_same_bytes(
    delivered: Delivered, settings: NodeSettings, tmp_path: Path
) -> None:
    case = delivered.case
    for name, content in delivered.made.items():
        (tmp_path / name).write_bytes(content)
    assert check_files([*sorted(tmp_path.glob("*.dcm")), *case.instances()]).faults == ()
    one_kind = replace(settings, orders={**settings.orders, "lab": settings.orders["pacs"]})
    STAGES[Stage.CANDIDATE](case, one_kind)
    (again,) = case.beside().object_paths()  # what was made before and is not ordered any more is gone
    assert again.read_bytes() == delivered.made[again.name]
    (entry,) = comparisons(settings)  # one per case, however often
    assert entry.figures is not None
    assert (entry.case_id, entry.code, entry.in_use) == ("case", "", IN_USE.label())
    assert entry.run_s > 0
    assert entry.figures.mean_difference_percent == pytest.approx(0.0, abs=0.01)
    assert entry.figures.spearman is not None
    assert -1.0 <= entry.figures.spearman <= 1.0
    assert sum(entry.figures.lobar_percent_points.values()) == pytest.approx(0.0, abs=1e-3)
    map_in_use = read_result(case.result).perfusion
    drawn = np.frombuffer(dcmread(again).FloatPixelData, "<f4").reshape(-1, *map_in_use.grid.shape[1:])
    apart = np.abs(drawn - 100.0 * map_in_use.values)[map_in_use.lungs].mean()
    assert entry.figures.mean_absolute_difference_percent == pytest.approx(apart, rel=1e-3)


def test_without_a_research_destination_only_figures_are_kept(delivered: Delivered, settings: NodeSettings) -> None:
    case = delivered.case
    for mode in (RouteMode.LIVE, RouteMode.SHADOW, RouteMode.OFF):
        STAGES[Stage.CANDIDATE](case, replace(settings, modes={**settings.modes, "lab": mode}))
        assert (case.beside().object_paths(), case.beside().contents.exists()) == ([], False), mode
    assert len(comparisons(settings)) == 1


def test_a_bundle_that_was_changed_gives_nothing_and_one_that_is_off_or_in_use_is_not_run(
    delivered: Delivered, settings: NodeSettings
) -> None:
    case = delivered.case
    registry = settings.model_registry()
    model = registry.find("stand-in")
    page = registry.path(model) / "docs" / "README.md"
    content = page.read_bytes()
    page.write_bytes(b"Validated.")
    with pytest.raises(ModelAltered):
        STAGES[Stage.CANDIDATE](case, settings)
    assert case.beside().object_paths() == []
    facts = case.result.with_suffix(".json")
    as_before = facts.read_bytes()
    facts.write_bytes(_with_model(as_before, model.content_sha256))
    STAGES[Stage.CANDIDATE](case, settings)  # and the changed page is not even read
    facts.write_bytes(as_before)
    assert end_shadow(registry)
    STAGES[Stage.CANDIDATE](case, settings)
    assert case.beside().object_paths() == []
    page.write_bytes(content)
    start_shadow(registry, model, IN_USE, settings.engine.trusted_keys, by="Ann", destination="lab")


def _with_model(facts: bytes, content_sha256: str) -> bytes:
    entry = json.loads(facts)
    entry["model"]["weights_sha256"] = content_sha256
    return json.dumps(entry).encode()
