"""The record of an in-silico patient as short lines for people: what a physicist asks first, not all of it."""

from collections.abc import Mapping
from typing import Any

TOLD = (
    ("sex", "person.sex"),
    ("age, years", "person.age_years"),
    ("height, m", "person.height_m"),
    ("weight, kg", "person.weight_kg"),
    ("breath", "person.state"),
    ("diaphragm moves, mm", "person.breathing.diaphragm_mm"),
    ("period of breath, s", "person.breathing.period_s"),
    ("arms up", "person.arms_up"),
    ("hospital", "hospital"),
    ("CT scanner", "ct.model"),
    ("CT protocol", "ct.protocol"),
    ("kernel", "ct.kernel.name"),
    ("slice every, mm", "ct.spacing_mm"),
    ("slice thickness, mm", "ct.slice_mm"),
    ("noise in water, HU", "ct.noise_hu"),
    ("exposure, mAs", "ct.exposure_mas"),
    ("SPECT camera", "spect.protocol.camera"),
    ("SPECT protocol", "spect.protocol.name"),
    ("SPECT method", "spect.method"),
    ("voxel, mm", "spect.protocol.pixel_mm"),
    ("activity, MBq", "spect.protocol.activity_mbq"),
    ("counts", "spect.counts"),
    ("SPECT lies off by x, y, z, mm", "spect.shift_mm"),
    ("lung volume, ml", "truth.lung_volume_ml"),
    ("arterial territories", "truth.territories"),
    ("seed", "making.seed"),
)
"""Label, and where in the record the value stands."""


def record_lines(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of the facts in `TOLD` that the record has."""
    found = [(label, _value(record, path)) for label, path in TOLD]
    return [(label, _short(value)) for label, value in found if value is not None]


def disease_lines(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name of each disease, and its place and severity; a name stands as often as the patient has the disease."""
    return [
        (str(disease["name"]), ", ".join(f"{_words(key)} {_short(disease[key])}" for key in disease if key != "name"))
        for disease in record.get("diseases", [])
    ]


def _value(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _words(key: str) -> str:
    return key.replace("_", " ")


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)} {_short(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(_short(part) for part in value) or "none"
    return "none" if value is None else str(value)
