"""A real network in a real process that is killed for real memory: it comes back in smaller tiles, and says so."""

from pathlib import Path

from dicom_node.durable_files import make_directory
from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseFolder
from dicom_node.results.result_files import read_result, write_ct, write_lobes
from dicom_node.settings.config import read_settings
from dicom_node.work.stage_work import StageWork
from inference.engine import FoundLobes
from inference.model_card import ModelCard, ModelIdentity
from inference.phantom.thorax import DigitalThorax
from inference.quality.checks import Severity

LIMIT_MB = 1400
"""A process with torch holds some 550 MB, with a window of 48 some 900, with one of 96 some 2400."""
SITE = """
[work]
stage_memory_mb = {limit_mb}
[inference]
perfusion = "network"
model_folder = "model"
device = "cpu"
"""


def test_a_network_killed_for_memory_comes_back_in_smaller_tiles(tmp_path: Path, thorax: DigitalThorax) -> None:
    write_model(tmp_path / "model")
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(limit_mb=LIMIT_MB))
    case = CaseFolder(tmp_path / "cases" / "one")
    make_directory(case.path)
    write_ct(case.ct, thorax.ct)
    write_lobes(case.lobes, FoundLobes(thorax.lobes, ()))
    work = StageWork(read_settings(site))
    killed = work.perform(case, AttemptId("one", 1, "perfuse", 1), 1)
    assert (killed["result"], killed["code"]) == ("again", "STAGE_OUT_OF_MEMORY"), killed
    assert f"more than the {LIMIT_MB} MB" in killed["message"]
    assert not case.result.exists()
    assert work.perform(case, AttemptId("one", 1, "perfuse", 2), 2)["result"] == "done"
    result = read_result(case.result)
    (record,) = result.execution
    assert (record.rung, record.tile, record.why) == ("smaller-tiles", (48, 48, 48), "STAGE_OUT_OF_MEMORY")
    assert [f.severity for f in result.findings if f.code == "RAN_ON_LESS_MEMORY"] == [Severity.FLAG]


def write_model(folder: Path) -> None:
    """Much memory and little to compute: many channels, each voxel for itself."""
    import torch

    from inference.checkpoint import save_model
    from inference.networks import build_network

    card = ModelCard(
        identity=ModelIdentity("wide", "0"),
        network="UNet",
        network_arguments={"channels": [128, 128], "strides": [1], "kernel_size": 1, "up_kernel_size": 1},
        input_spacing_mm=(6.0, 6.0, 6.0),
        hu_window=(-1000.0, 0.0),
        window_size=(96, 96, 96),
        trained_on="Nothing.",
        intended_use="Tests.",
    )
    torch.manual_seed(1)  # of other weights some give no map that may be sent
    save_model(folder, build_network(card))
