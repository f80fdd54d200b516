"""Stand-in weights for lungmask's two networks: right architecture, right size, taught on digital thoraxes.

    python -m benchmarks.lobes_weights FOLDER [--seconds 1200] [--ct /folder/of/a/series]

They are no substitute for lungmask's own weights and know no patient. They exist so that speed and equality of labels
can be measured where the real ones cannot be had: masks look like lungs and lobes, borders are borders between two
scores that cross, and all weights are at work.

Teaching 31 million weights takes days on two cores. So one U-net with an eighth of the channels is taught both lungs
and lobes, split in two, and widened: each channel is copied eight times, each weight is shared out over the copies in
unequal parts that add up to it. The wide network says what the narrow one says, but for rounding. With `--ct` it is
also shown that series, with the lobes that the atlas engine draws there.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from dicom_node.offline import dicom_files
from inference.anatomy import Lobe
from inference.atlas.atlas_lobes import AtlasLobes
from inference.ct.series import read_ct_files
from inference.geometry import Grid, Reorientation
from inference.lungmask.lungmask_lobes import LOBE_OF_LUNGMASK
from inference.lungmask.slices import SIDE, enlarged, prepare
from inference.phantom.build import ThoraxBuild, varied
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from inference.volumes import CtVolume, LobeMap
from inference.weights.lungmask_package import import_lungmask

GRID = Grid.axial(
    (30, 256, 256), (11.0, 1.5, 1.5), (-192.0, -190.0, -165.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)
PATIENTS = 6
NARROWING = 8
"""By how much fewer channels the taught network has than lungmask's."""
BATCH_SIZE = 2
LEARNING_RATE = 3e-3
BACKGROUND_WEIGHT = 0.3
SECONDS = 1200.0
"""Of processor time: some ten minutes on two cores. With a few minutes lobes are missing."""
UNEVENNESS = 0.5
"""Spread of the shares of a weight, in shares."""
CLASSES = {"R231": 3, "LTRCLobes": 6}
NAMES = {"R231": "r231.pth", "LTRCLobes": "ltrclobes.pth"}


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Slices as the networks see them, and what they should say."""

    pixels: Float32[np.ndarray, "slices 256 256"]
    lobes: UInt8[np.ndarray, "slices 256 256"]
    """Labels of LTRCLobes."""

    def answers(self, network: str) -> UInt8[np.ndarray, "slices 256 256"]:
        """What a network should say; R231: 1 right, 2 left."""
        if network == "LTRCLobes":
            return self.lobes
        answers: UInt8[np.ndarray, "slices 256 256"] = np.array([0, 2, 2, 1, 1, 1], dtype=np.uint8)[self.lobes]
        return answers


def main() -> None:
    """Teach both networks and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of processor time to teach for")
    parser.add_argument("--ct", type=Path, help="folder of a series to teach on as well")
    arguments = parser.parse_args()
    make_weights(arguments.folder, arguments.seconds, arguments.ct)


def make_weights(folder: Path, seconds: float, ct_folder: Path | None = None) -> None:
    """Write both files into a folder, unless files made with the same arguments are there."""
    recipe = json.dumps({"seconds": seconds, "ct": ct_folder.name if ct_folder else "", "version": 3})
    made = folder / "recipe.json"
    if made.is_file() and made.read_text() == recipe:
        return
    folder.mkdir(parents=True, exist_ok=True)
    lesson = draw_lesson(ct_folder)
    taught = teach(lesson, seconds)
    for network, name in NAMES.items():
        narrow = head(taught, network)
        wide = widen(narrow)
        print(f"{network}: wide and narrow differ by {_difference(narrow, wide, lesson):.1e} at most", flush=True)
        torch.save(wide.state_dict(), folder / name)
    made.write_text(recipe)


def draw_lesson(ct_folder: Path | None) -> Lesson:
    """Several digital patients, and a series with the lobes of the atlas engine."""
    builds = [ThoraxBuild(), *(varied(number) for number in range(1, PATIENTS))]
    shown = [_lesson_of(thorax.ct, thorax.lobes) for thorax in (draw_thorax(GRID, build=build) for build in builds)]
    if ct_folder is not None:
        ct = read_ct_files(dicom_files(ct_folder))
        shown.append(_lesson_of(ct, AtlasLobes().segment(ct)))
    return Lesson(np.concatenate([part.pixels for part in shown]), np.concatenate([part.lobes for part in shown]))


def _lesson_of(ct: CtVolume, lobes: LobeMap) -> Lesson:
    axes = Reorientation.to_patient_axes(ct.grid)
    prepared = prepare(axes.apply(ct.hu))
    numbers = np.zeros(len(Lobe) + 1, dtype=np.uint8)
    for label, lobe in LOBE_OF_LUNGMASK.items():
        numbers[lobe.value] = label
    truth = numbers[axes.apply(lobes.labels)]
    seen = [
        enlarged(image[crop.rows, crop.columns], (SIDE, SIDE))
        for image, crop in zip(truth, prepared.crops, strict=True)
    ]
    return Lesson(prepared.pixels, np.array(seen))


def network_of(classes: int, *, narrowing: int = 1) -> Any:
    """A network of lungmask's architecture with fresh weights."""
    import_lungmask()
    from lungmask.resunet import UNet

    width = 6 - int(math.log2(narrowing))
    return UNet(n_classes=classes, wf=width, padding=True, depth=5, up_mode="upsample", batch_norm=True)


def teach(lesson: Lesson, seconds: float) -> Any:
    """A narrow network that answers for both, after that many seconds; how far it comes depends on the machine."""
    torch.manual_seed(0)
    pixels = torch.from_numpy(lesson.pixels)[:, None]
    answers = [torch.from_numpy(lesson.answers(network).astype(np.int64)) for network in CLASSES]
    losses_of = [
        torch.nn.CrossEntropyLoss(torch.tensor([BACKGROUND_WEIGHT] + [1.0] * (n - 1))) for n in CLASSES.values()
    ]
    model = network_of(sum(CLASSES.values()), narrowing=NARROWING).to(memory_format=torch.channels_last).train()
    model.softmax = torch.nn.Identity()
    how_often = 0.15 + torch.from_numpy(lesson.lobes.any(axis=(1, 2)).astype(np.float32))
    optimiser = torch.optim.Adam(model.parameters())
    started, steps, recent = time.process_time(), 0, [0.0]
    while (share := (time.process_time() - started) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * share))
        chosen = torch.multinomial(how_often, BATCH_SIZE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = model(pixels[chosen].contiguous(memory_format=torch.channels_last)).float()
        parts = zip(losses_of, scores.split(list(CLASSES.values()), dim=1), answers, strict=True)
        loss = sum(loss_of(part, answer[chosen]) for loss_of, part, answer in parts)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps, recent = steps + 1, [*recent[-19:], float(loss)]
    print(f"{steps} steps in {seconds:.0f} s of processor time, loss {np.mean(recent):.3f}", flush=True)
    return model.eval()


def head(taught: Any, network: str) -> Any:
    """The part of a taught network that answers for one of the two."""
    first = 0 if network == "R231" else CLASSES["R231"]
    own = slice(first, first + CLASSES[network])
    narrow = network_of(CLASSES[network], narrowing=NARROWING).eval()
    state = taught.state_dict()
    narrow.load_state_dict({**state, "last.weight": state["last.weight"][own], "last.bias": state["last.bias"][own]})
    return narrow


def widen(narrow: Any) -> Any:
    """The network of lungmask's width that says the same."""
    wide = network_of(narrow.last.out_channels).eval()
    random = torch.Generator().manual_seed(1)
    small, state = narrow.state_dict(), wide.state_dict()
    for name, target in state.items():
        if target.ndim:
            state[name] = _shared_out(small[name], target.shape, random)
    wide.load_state_dict(state)
    return wide


def _shared_out(weight: torch.Tensor, shape: Sequence[int], random: torch.Generator) -> torch.Tensor:
    """Copies for each output, shares for each input; the shares of a weight add up to it."""
    copied = weight.repeat_interleave(shape[0] // weight.shape[0], dim=0)
    if weight.ndim < 2 or shape[1] == weight.shape[1]:
        return copied
    copies = shape[1] // weight.shape[1]
    share = torch.randn((shape[0], weight.shape[1], copies, *shape[2:]), generator=random) * UNEVENNESS
    share += 1 - share.mean(dim=2, keepdim=True)
    return (copied[:, :, None] * share / copies).reshape(tuple(shape))


def _difference(narrow: Any, wide: Any, lesson: Lesson) -> float:
    seen = torch.from_numpy(lesson.pixels[len(lesson.pixels) // 2])[None, None]
    with torch.inference_mode():
        return float((narrow(seen) - wide(seen)).abs().max())


if __name__ == "__main__":
    main()
