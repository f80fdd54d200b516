"""TotalSegmentator and nnU-Net themselves, as a program of its own: `python -m tests.totalseg_original`.

It runs with the folder of `make test-totalsegmentator` in front of its path. `make FOLDER` writes a small random
network of nnU-Net's own class in the layout of the published weights; `predict FOLDER IN.nii.gz OUT.npy` gives the
labels of TotalSegmentator's task `total` with it.
"""

import json
import os
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np

from tests.stand_in_weights import DATASET, DATASET_JSON, ORGANS, PLANS, TRAINER

SPACING_MM = 8.0


def make(folder: Path) -> None:
    """Write a random network whose tensors are all different from 0, also those that must make no difference."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.manual_seed(11)
    plans = PlansManager(deepcopy(PLANS))
    configuration = plans.get_configuration("3d_fullres")
    build = nnUNetTrainer.build_network_architecture
    network = build(plans, configuration, 1, len(ORGANS), enable_deep_supervision=True)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)
            elif "norm" in name or "all_modules.1" in name:
                parameter.uniform_(0.5, 1.5)
        last = network.decoder.seg_layers[-1]
        last.weight.mul_(3)
        for label, organ in enumerate(ORGANS):
            last.bias[label] = 2.0 if organ.startswith("lung_") else 0.0
    home = folder / DATASET / TRAINER
    (home / "fold_0").mkdir(parents=True)
    (home / "plans.json").write_text(json.dumps(PLANS))
    (home / "dataset.json").write_text(json.dumps(DATASET_JSON))
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99).state_dict(),
        "grad_scaler_state": None,
        "logging": {"ema_fg_dice": [np.float64(0.5)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1,
        "init_args": {"plans": PLANS, "configuration": "3d_fullres", "fold": 0, "dataset_json": DATASET_JSON},
        "trainer_name": TRAINER.split("__", 1)[0],
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, home / "fold_0" / "checkpoint_final.pth")


def predict(folder: Path, image: Path, labels: Path) -> None:
    """Labels of the lobes, as values of `total`'s class map, on the grid of the image."""
    os.environ["TOTALSEG_WEIGHTS_PATH"] = str(folder)
    from totalsegmentator.config import setup_nnunet

    setup_nnunet()
    from totalsegmentator.nnunet import nnUNet_predict_image

    found, _, _ = nnUNet_predict_image(
        image,
        None,
        [291, 292, 293, 294, 295],
        folds=[0],
        trainer=TRAINER.split("__", 1)[0],
        task_name="total",
        resample=SPACING_MM,
        roi_subset=[organ for organ in ORGANS if organ.startswith("lung_")],
        nr_threads_saving=1,
        quiet=True,
        skip_saving=True,
        device="cpu",
    )
    np.save(labels, np.asanyarray(found.dataobj).astype(np.uint8).transpose(2, 1, 0))


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    {"make": make, "predict": predict}[what](*map(Path, paths))
