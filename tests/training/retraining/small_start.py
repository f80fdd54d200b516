"""A model to start from, and recipes, small enough for tests."""

from pathlib import Path

from inference.checkpoint import save_model
from inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.models.bundle_folder import BundleDraft, write_bundle
from inference.models.signature import make_key_pair, read_private_key
from training.transfer import fresh_network

CHANNELS = ("hu", "lungs", "spread", "above-500")


def small_card(window: tuple[int, int, int] = (32, 24, 32)) -> ModelCard:
    """A network of two levels on voxels of 8 mm."""
    return ModelCard(
        identity=ModelIdentity("small-start", "1", caveat="Never trained."),
        network="AttentionResidualUnet",
        network_arguments={"channels": [4, 8], "strides": [2]},
        input_spacing_mm=(8.0, 8.0, 8.0),
        hu_window=(-1000.0, 100.0),
        window_size=window,
        trained_on="Nothing: random weights.",
        intended_use="Tests.",
        channels=CHANNELS,
    )


def write_network(folder: Path, *, seed: int = 3) -> Path:
    """A single network with random weights."""
    save_model(folder, fresh_network(small_card(), seed))
    return folder


def write_start(folder: Path, *, key: Path, made_from: dict[str, str] | None = None, members: int = 2) -> Path:
    """A signed bundle of such networks; the key is made if absent."""
    if not key.exists():
        make_key_pair(key)
    files, names = {}, tuple(f"models/fold{k}" for k in range(members))
    for k, name in enumerate(names):
        network = write_network(folder.with_name(f"{folder.name}-network{k}"), seed=k)
        files |= {f"{name}/{file}": (network / file).read_bytes() for file in (CARD_FILE, WEIGHTS_FILE)}
    draft = BundleDraft(
        name="small-start",
        version="1",
        trained_on="In-silico: nothing.",
        intended_use="Tests.",
        caveat="Never trained.",
        members=names,
        signer="a test",
        files=files,
        made_from=made_from or {},
    )
    write_bundle(folder, draft, read_private_key(key))
    return folder


def write_recipe(folder: Path, **changes: object) -> Path:
    """A recipe for about nine coarse patients, a few steps; `changes` replace lines, such as `steps = 4`."""
    values: dict[str, object] = {
        "learns": '"all"',
        "seed": 1,
        "fewest": 6,
        "fewest_held_out": 2,
        "parts": 3,
        "held_out_parts": 1,
        "folds": 2,
        "validation_parts": 3,
        "spect_fwhm_mm": 15.0,
        "steps": 6,
        "margin": 5.0,
        **changes,
    }
    top = f'name = "small-site"\nstatement = "A trial; its figures mean nothing."\nlearns = {values["learns"]}\n'
    patients = ("fewest", "fewest_held_out", "parts", "held_out_parts", "folds", "validation_parts")
    text = top + f"seed = {values['seed']}\n[patients]\n" + "".join(f"{name} = {values[name]}\n" for name in patients)
    text += f'[input]\nlobes = "atlas"\nspect_fwhm_mm = {values["spect_fwhm_mm"]}\n'
    text += f"[optimisation]\nsteps = {values['steps']}\nbatch_size = 2\nlearning_rate = 3e-3\nwarmup_steps = 2\n"
    text += "validate_every_steps = 2\ncheckpoint_every_steps = 2\n[evaluation]\nspacing_mm = [8.0, 8.0, 8.0]\n"
    for score in ("spearman", "spearman-eroded", "dice-high-50", "dice-low-50", "lobar-error"):
        text += f'[[evaluation.figures]]\nscore = "{score}"\nneeded = "not worse"\nmargin = {values["margin"]}\n'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "retraining.toml").write_text(text)
    return folder
