"""A study small enough to be run in a test: its recipe as files, and drawn patients."""

from pathlib import Path

from tests.training.drawn_cases import drawn_case
from training.case_files import case_file, write_case

OPTIMISATION = """steps = {steps}
batch_size = 2
learning_rate = 3e-3
warmup_steps = 2
validate_every_steps = {look}
checkpoint_every_steps = {look}
"""


def write_recipe(
    folder: Path,
    *,
    pretraining_cases: int = 4,
    fine_tuning_cases: int = 4,
    window: tuple[int, int, int] = (16, 12, 16),
    channels: tuple[str, ...] = ("hu", "lungs"),
    steps: int = 6,
    pretraining_steps: int | None = None,
) -> Path:
    """Two networks (one a peer that is shown the CT number only) and four arms in two folds with one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    plan, before = (_optimisation(number) for number in (steps, pretraining_steps or steps))
    study = {
        "name": "small",
        "statement": "A trial of the machinery; its figures mean nothing.",
        "main_arm": "full-fine-tuning",
        "main_network": "small",
        "arms": ["full-fine-tuning", "pretrained-only", "joint", "peer"],
    }
    texts = {
        "study.toml": "".join(f"{key} = {value!r}\n" for key, value in study.items())
        + f"[cohort]\npretraining_cases = {pretraining_cases}\nfine_tuning_cases = {fine_tuning_cases}\n"
        + "folds = 2\nvalidation_fraction = 0.3\nseeds = [5]\n"
        + "[input]\nspacing_mm = [4.8, 4.8, 4.8]\nhu_window = [-1000.0, 100.0]\n"
        + f"window_size = {list(window)}\nchannels = {list(channels)}\n[pretraining]\n{before}",
        "network-small.toml": _network("small", "AttentionResidualUnet", "{ channels = [4, 8], strides = [2] }"),
        "network-plain.toml": _network("plain", "UNet", "{ channels = [4, 8], strides = [2] }")
        + 'channels = ["hu", "lungs"]\n',
        "arm-full-fine-tuning.toml": _arm("full-fine-tuning", 'start = "pretrained"\nlearns = "all"\n')
        + f"[optimisation]\n{plan}",
        "arm-pretrained-only.toml": _arm("pretrained-only", 'start = "pretrained"\nlearns = "nothing"\n'),
        "arm-joint.toml": _arm("joint", 'start = "random"\nlearns = "all"\ntrains_on = "both"\n')
        + f"[optimisation]\n{plan}",
        "arm-peer.toml": _arm("peer", 'network = "plain"\nlike = "full-fine-tuning"\n'),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def write_patients(study: Path, *, pretraining: int = 4, fine_tuning: int = 4) -> None:
    """Drawn cases of a study."""
    folder = study / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    for letters, cohort, count in (("NC", "non-cancer", pretraining), ("LC", "lung-cancer", fine_tuning)):
        for number in range(1, count + 1):
            name = f"{letters}-{number:03d}"
            seed = number if letters == "LC" else 100 + number
            write_case(case_file(folder, name), drawn_case(name, seed=seed, cohort=cohort))


def _optimisation(steps: int) -> str:
    return OPTIMISATION.format(steps=steps, look=max(steps // 4, 1))


def _network(name: str, kind: str, arguments: str) -> str:
    return f'name = "{name}"\nstatement = "Small."\nnetwork = "{kind}"\narguments = {arguments}\n'


def _arm(name: str, rest: str) -> str:
    return f'name = "{name}"\nstatement = "A trial."\n{rest}'
