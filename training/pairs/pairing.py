"""From a folder of DICOM to pairs and problems, patient by patient.

    files ── sorted by patient ── perfusion images, CTs, registration objects ── one pair for each study of perfusion

For each study with perfusion images the best image is taken, and for it the best CT: first one that shares its Frame
of Reference, then one that a registration object links, then any other. Everything that is not taken is a problem with
a code and a sentence; a folder without problems was used whole.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID, SpatialRegistrationStorage

from inference.atlas.lungs import find_lungs
from inference.ct.frames import CT_CLASSES
from inference.ct.series import read_ct_files
from inference.errors import InferenceError
from training.errors import NuclearImageUnusable, RegistrationUnusable
from training.nuclear_image import NuclearImage
from training.pairs.dicom_folder import FoundFile, FoundPatient, read_folder, series_files
from training.pairs.linking import KnownMovement, known_movement, link
from training.pairs.pair import ClinicalPair, LinkKind, PatientFindings, Problem, ProblemCode, SeriesFiles
from training.pairs.perfusion_image import NUCLEAR, PET, doubts, read_perfusion, why_not_perfusion
from training.pairs.registration_object import RegistrationObject, read_registration
from training.pairs.rigid_registration import LungPicture, lung_picture

MOST_DAYS_APART = 14
"""Between CT and perfusion image; a tumour, a clot or a treatment changes perfusion in less (limit ours)."""
_CT = frozenset(str(uid) for uid in CT_CLASSES)
_REGISTRATION = frozenset({str(SpatialRegistrationStorage)})

Registrations = tuple[tuple[Path, RegistrationObject], ...]
_Seen = dict[SeriesFiles, LungPicture | Problem]


@dataclass(frozen=True, slots=True)
class _Image:
    """A perfusion image that may be used."""

    files: tuple[FoundFile, ...]
    series: SeriesFiles
    doubts: tuple[Problem, ...]


def find_pairs(
    folder: Path, *, is_wanted: Callable[[str], bool] = lambda patient_id: True
) -> Iterator[PatientFindings]:
    """Find all pairs in a folder; one answer for each patient, in the order of Patient IDs, as soon as it is known.

    Files that are no DICOM, and those without a Patient ID, come last, under no patient.

    Args:
        folder: of DICOM files; is only read.
        is_wanted: of a Patient ID; for others the answer is that they were not looked at.

    Raises:
        OSError: a file cannot be read.
    """
    found = read_folder(folder)
    rest: list[Problem] = []
    for patient in found.patients:
        if patient.patient_id and is_wanted(patient.patient_id):
            yield patient_findings(patient)
        elif patient.patient_id:
            sentence = f"{len(patient.files)} DICOM file(s) name another patient: nothing of them was looked at"
            yield _without_pair(patient, Problem(ProblemCode.OTHER_PATIENT, sentence, is_fatal=True))
        else:
            sentence = f"{len(patient.files)} DICOM file(s) have no Patient ID"
            rest.append(Problem(ProblemCode.NO_PATIENT_ID, sentence, is_fatal=True))
    if found.not_dicom:
        sentence = f"{len(found.not_dicom)} file(s) are no DICOM objects, or damaged, and were passed over"
        rest.append(Problem(ProblemCode.NOT_DICOM, sentence))
    if found.links:
        rest.append(Problem(ProblemCode.NOT_USED, f"{found.links} link(s) to files or folders were not followed"))
    if rest:
        yield PatientFindings("", (), tuple(rest))


def patient_findings(patient: FoundPatient) -> PatientFindings:
    """Pairs and problems of one patient.

    Raises:
        OSError: a file cannot be read.
    """
    if len(patient.persons) > 1:
        sentence = f"{len(patient.persons)} different names or birth dates share this Patient ID: nothing was taken"
        return _without_pair(patient, Problem(ProblemCode.PATIENT_MIXED, sentence, is_fatal=True))
    images, problems = _images(patient)
    registrations, unusable = _registrations(patient)
    problems += [*unusable, *_of_other_kinds(patient)]
    cts = tuple(series_files(files) for files in patient.series(_CT))
    if not images:
        problems.append(Problem(ProblemCode.NO_PERFUSION, "there is no image of perfusion to use", is_fatal=True))
    if not cts:
        problems.append(Problem(ProblemCode.NO_CT, "there is no CT", is_fatal=True))
    pairs: list[ClinicalPair] = []
    seen: _Seen = {}
    for image in images if cts else ():
        pair, faults = _pair(patient.patient_id, image, cts, registrations, seen)
        problems += faults
        pairs += [pair] if pair else []
    problems += _ct_problems(cts, pairs, seen)
    return PatientFindings(patient.patient_id, tuple(pairs), tuple(problems))


def _without_pair(patient: FoundPatient, problem: Problem) -> PatientFindings:
    return PatientFindings(patient.patient_id, (), (problem,))


def _images(patient: FoundPatient) -> tuple[list[_Image], list[Problem]]:
    """The best perfusion image of each study, and why others are not taken."""
    groups = [(file,) for files in patient.series(NUCLEAR) for file in files]
    problems, by_study = [], dict[str, list[_Image]]()
    for files in [*groups, *patient.series(PET)]:
        reason = why_not_perfusion(files)
        if reason:
            problems.append(reason)
            continue
        image = _Image(files, series_files(files), doubts(files))
        by_study.setdefault(image.series.study_instance_uid, []).append(image)
    best = []
    for uid in sorted(by_study):
        ordered = sorted(by_study[uid], key=lambda each: (len(each.doubts), each.files[0].text("SOPInstanceUID")))
        best.append(ordered[0])
        for other in ordered[1:]:
            sentence = (
                f"series {other.series.series_instance_uid} shows perfusion too; of one study one image is taken, "
                f"the one with fewest doubts: series {ordered[0].series.series_instance_uid}"
            )
            problems.append(Problem(ProblemCode.SEVERAL_PERFUSIONS, sentence))
    return best, problems


def _of_other_kinds(patient: FoundPatient) -> Iterator[Problem]:
    """What this program does not read, and what is there twice."""
    known = {*NUCLEAR, *PET, *_CT, *_REGISTRATION}
    counts = Counter(
        UID(each.text("SOPClassUID")).name for each in patient.files if each.text("SOPClassUID") not in known
    )
    for name in sorted(counts):
        yield Problem(ProblemCode.NOT_USED, f"{counts[name]} object(s) of class {name} are not read")
    twice = len(patient.files) - len({each.text("SOPInstanceUID") for each in patient.files})
    if twice:
        yield Problem(ProblemCode.NOT_USED, f"{twice} file(s) hold an object that another file holds as well")


def _registrations(patient: FoundPatient) -> tuple[Registrations, list[Problem]]:
    """What the registration objects of a patient say, in the order of their UIDs."""
    usable, problems = [], []
    for files in patient.series(_REGISTRATION):
        for file in files:
            try:
                usable.append((file.path, read_registration(dcmread(file.path), patient.frames)))
            except RegistrationUnusable as fault:
                sentence = f"registration object {file.text('SOPInstanceUID')}: {fault.reason}"
                problems.append(Problem(ProblemCode.REGISTRATION_UNUSABLE, sentence))
    usable.sort(key=lambda pair: pair[1].sop_instance_uid)
    return tuple(usable), problems


def _pair(
    patient_id: str, image: _Image, cts: tuple[SeriesFiles, ...], registrations: Registrations, seen: _Seen
) -> tuple[ClinicalPair | None, list[Problem]]:
    """The pair of a perfusion image with the best CT that can be used, or why there is none."""
    try:
        spect = read_perfusion(image.series.files)
    except NuclearImageUnusable as fault:
        sentence = f"series {image.series.series_instance_uid}: {fault.reason}"
        return None, [Problem(ProblemCode.PERFUSION_UNUSABLE, sentence, is_fatal=True)]
    frame = image.series.frame_of_reference_uid
    known = {ct: known_movement(frame, ct.frame_of_reference_uid, registrations) for ct in cts}
    left = sorted(cts, key=lambda each: _order(each, known[each].kind, image.series))
    while left:
        ct = left.pop(0)
        picture = _picture(ct, seen)
        if isinstance(picture, Problem):
            continue
        pair = _linked(patient_id, image, ct, known[ct], picture, spect)
        rivals = [each for each in left if known[each].kind is known[ct].kind]
        if rivals:
            sentence = f"CT series {ct.series_instance_uid} is taken; {len(rivals)} other(s) could be"
            pair = replace(pair, problems=(*pair.problems, Problem(ProblemCode.SEVERAL_CTS, sentence)))
        return pair, []
    return None, [Problem(ProblemCode.NO_CT, "none of the CTs can be used", is_fatal=True)]


def _ct_problems(cts: tuple[SeriesFiles, ...], pairs: list[ClinicalPair], seen: _Seen) -> Iterator[Problem]:
    """CTs that cannot be used, and those that could but are in no pair."""
    used = {pair.ct for pair in pairs}
    for ct in cts:
        if isinstance(found := seen.get(ct), Problem):
            yield found
        elif pairs and ct not in used:
            sentence = f"CT series {ct.series_instance_uid} is in no pair: others are linked better, or nearer in time"
            yield Problem(ProblemCode.NOT_USED, sentence)


def _order(ct: SeriesFiles, kind: LinkKind, image: SeriesFiles) -> tuple[int, float, int, str]:
    """Best link first, then the nearest day, then most slices; the UID decides the rest, so that equal is equal."""
    return list(LinkKind).index(kind), _days_apart(ct, image) or 0.0, -len(ct.files), ct.series_instance_uid


def _picture(ct: SeriesFiles, seen: _Seen) -> LungPicture | Problem:
    """The lungs of a CT, or why there are none; found once."""
    if ct not in seen:
        try:
            volume = read_ct_files(ct.files)
            lungs = find_lungs(volume)
            seen[ct] = lung_picture(volume, lungs.right | lungs.left)
        except InferenceError as fault:
            sentence = f"CT series {ct.series_instance_uid} cannot be used: {fault.code}, {fault}"
            seen[ct] = Problem(ProblemCode.CT_UNUSABLE, sentence)
    return seen[ct]


def _linked(
    patient_id: str, image: _Image, ct: SeriesFiles, known: KnownMovement, picture: LungPicture, spect: NuclearImage
) -> ClinicalPair:
    problems = list(image.doubts)
    days = _days_apart(ct, image.series)
    if days is not None and days > MOST_DAYS_APART:
        sentence = f"{days:.0f} days lie between CT and perfusion image; at most {MOST_DAYS_APART} are expected"
        problems.append(Problem(ProblemCode.DAYS_APART, sentence))
    found = link(picture, spect, known)
    return ClinicalPair(patient_id, ct, image.series, found, known.registration, tuple(problems))


def _days_apart(one: SeriesFiles, other: SeriesFiles) -> float | None:
    try:
        return float(abs((date.fromisoformat(one.day) - date.fromisoformat(other.day)).days))
    except ValueError:
        return None
