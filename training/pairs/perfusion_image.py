"""Which nuclear images show perfusion of the lungs, by their headers; and reading one of them.

Ventilation is made by the same cameras on the same day, and trains a model of the wrong thing. It is told apart by the
tracer, then by descriptions. Where neither speaks, the image is taken and a person is asked.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import NuclearMedicineImageStorage, PositronEmissionTomographyImageStorage

from training.errors import NuclearImageUnusable
from training.nuclear_image import RECONSTRUCTED, NuclearImage, read_nuclear_image
from training.pairs.dicom_folder import FoundFile
from training.pairs.pair import Problem, ProblemCode
from training.pairs.pet_series import STILL, read_pet_series

NUCLEAR = frozenset({str(NuclearMedicineImageStorage)})
PET = frozenset({str(PositronEmissionTomographyImageStorage)})
_PERFUSION = re.compile(r"\bmaa\b|macro-?\s?aggregate|aggregated albumin|albumin aggregated|\bperf", re.I)
_VENTILATION = re.compile(r"technegas|dtpa|pentetate|krypton|kr-?81m|xenon|xe-?133|aerosol|galligas|\bvent", re.I)
_CORRECTED = "ATTN"


def why_not_perfusion(files: tuple[FoundFile, ...]) -> Problem | None:
    """Why a nuclear object or PET series is not an image of perfusion that can be used; None if it may be one."""
    first = files[0]
    uid = first.text("SeriesInstanceUID")
    kind = [str(value) for value in first.header.get("ImageType") or ()]
    if first.text("SOPClassUID") in NUCLEAR and kind[2:3] != [RECONSTRUCTED]:
        said = kind[2] if len(kind) > 2 else "none"
        return Problem(ProblemCode.NOT_PERFUSION, f"NM series {uid}: Image Type value 3 is {said}, not {RECONSTRUCTED}")
    series_type = [str(value) for value in first.header.get("SeriesType") or ()]
    if first.text("SOPClassUID") in PET and (series_type[:1] or [""])[0] not in STILL:
        return Problem(ProblemCode.NOT_PERFUSION, f"PET series {uid}: Series Type is {series_type}, not a still image")
    if _speaks(first, _VENTILATION) and not _speaks(first, _PERFUSION):
        return Problem(ProblemCode.NOT_PERFUSION, f"series {uid} shows ventilation, by its tracer or description")
    return None


def doubts(files: tuple[FoundFile, ...]) -> tuple[Problem, ...]:
    """What a person must look at in an image that is taken."""
    first = files[0]
    uid = first.text("SeriesInstanceUID")
    found = []
    if not _speaks(first, _PERFUSION):
        sentence = f"series {uid}: neither tracer nor description says that this is perfusion of the lungs"
        found.append(Problem(ProblemCode.TRACER_UNKNOWN, sentence))
    corrections = first.header.get("CorrectedImage") or ()
    if _CORRECTED not in ([corrections] if isinstance(corrections, str) else [str(each) for each in corrections]):
        sentence = f"series {uid}: not said to be corrected for attenuation; uncorrected counts fade toward the middle"
        found.append(Problem(ProblemCode.NOT_CORRECTED, sentence))
    return tuple(found)


def read_perfusion(files: Sequence[Path]) -> NuclearImage:
    """The image of a pair.

    Args:
        files: one NM object, or all files of one PET series.

    Raises:
        NuclearImageUnusable: it cannot be read, or cannot be placed in the patient.
    """
    try:
        datasets = [dcmread(path) for path in files]
        is_pet = str(datasets[0].get("SOPClassUID")) in PET
        image = read_pet_series(datasets) if is_pet else read_nuclear_image(datasets[0])
    except (NuclearImageUnusable, MemoryError):
        raise
    except Exception as fault:  # foreign bytes make pydicom fail in any way
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        raise NuclearImageUnusable(f"it cannot be decoded ({type(fault).__name__})") from fault
    if not image.values.max() > 0.0:
        raise NuclearImageUnusable("it is empty: nothing was counted in it")
    return image


def _speaks(file: FoundFile, words: re.Pattern[str]) -> bool:
    """Whether tracer or descriptions hold one of the words; the tracer is asked first."""
    tracer = []
    for drug in file.header.get("RadiopharmaceuticalInformationSequence") or ():
        tracer.append(str(drug.get("Radiopharmaceutical") or ""))
        tracer += [str(code.get("CodeMeaning") or "") for code in drug.get("RadiopharmaceuticalCodeSequence") or ()]
    said = " ".join(tracer).replace("^", "").replace("_", " ")
    if _PERFUSION.search(said) or _VENTILATION.search(said):
        return bool(words.search(said))
    return bool(words.search(file.text("SeriesDescription").replace("_", " ")))
