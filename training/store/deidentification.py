"""One DICOM object in, one that names nobody out: what is on the list of `kept_attributes`, and nothing else.

After the Basic Application Level Confidentiality Profile with the option to retain longitudinal temporal information
with modified dates (PS3.15 annex E); the object says so itself. The file is written anew with a zero preamble, file
meta information of this program and uncompressed pixels, so no byte of the source file but pixel values is copied.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final, cast

from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pydicom.valuerep import DSfloat

from inference.ct.instances import IMPLEMENTATION_CLASS_UID
from training.store.kept_attributes import EMPTY, KEPT, MAA, VENDORS, WHERE_ABSENT, Rule, Words
from training.store.pseudonyms import Pseudonyms
from training.store.stored_pixels import StoredPixels, put_pixels

METHOD: Final = "perfusion-node: listed attributes, keyed UIDs, moved dates"
"""De-identification Method (0012,0063)."""
_METHODS: Final = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
"""CID 7050."""
_LOSSY: Final = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
_OLD_SNOMED: Final = ("SRT", "SNM3", "99SDM")
"""Schemes of SNOMED RT codes (PS3.16 annex O), which are written anew as those of SNOMED CT."""
_MEANINGS: Final = {
    (scheme, value): meaning
    for scheme in ("DCM", "SCT")
    for codes in concepts[scheme].values()
    for value, (meaning, *_) in cast(Mapping[str, tuple[str, list[int]]], codes).items()
}


def deidentified(
    source: Dataset, pixels: StoredPixels | None, patient: str, pseudonyms: Pseudonyms, *, number: int
) -> FileDataset:
    """Make the object that is stored.

    Args:
        source: with file meta information.
        pixels: its values; None for an object that has none.
        patient: pseudonym of the patient.
        pseudonyms: with the store's key.
        number: Instance Number (0020,0013), given anew.
    """
    with disable_value_validation():  # a value that does not follow its VR is dropped, not told of with its content
        kept = _kept(source, patient, pseudonyms)
    stored = FileDataset("", kept, file_meta=_meta(kept), preamble=b"\0" * 128)
    for keyword in EMPTY:
        setattr(stored, keyword, "")
    stored.PatientName = stored.PatientID = patient
    stored.InstanceNumber = number
    stored.PatientIdentityRemoved = "YES"
    stored.DeidentificationMethod = METHOD
    stored.DeidentificationMethodCodeSequence = Sequence([_item(value, "DCM", meaning) for value, meaning in _METHODS])
    stored.LongitudinalTemporalInformationModified = "MODIFIED"
    _describe_device(stored, source)
    _complete(stored)
    if pixels is not None:
        put_pixels(stored, pixels)
        if source.file_meta.TransferSyntaxUID in _LOSSY:
            stored.LossyImageCompression = "01"
    return stored


def _complete(stored: Dataset) -> None:
    """Put in what an object of its class must have, where nothing was kept."""
    for keyword, value in WHERE_ABSENT.get(stored.SOPClassUID, {}).items():
        if keyword not in stored:
            setattr(stored, keyword, value)
    for drug in stored.get("RadiopharmaceuticalInformationSequence") or ():
        if "RadionuclideCodeSequence" not in drug:
            drug.RadionuclideCodeSequence = Sequence()  # type 2; a code of the hospital's own was not kept


def _kept(source: Dataset, patient: str, pseudonyms: Pseudonyms) -> Dataset:
    """What is kept of an object or item. Only attributes on the list are looked at, the others not even parsed."""
    kept = Dataset()
    for keyword, rule in KEPT.items():
        value = _value(source, keyword)
        if value is None or value == "":
            continue
        made = _made(value, rule, patient, pseudonyms)
        if made is not None and (rule is not Rule.NUMBER or _fits(made, keyword)):
            setattr(kept, keyword, made)
    if (drug := _value(source, "Radiopharmaceutical")) is not None and _is_maa(str(drug)):
        kept.Radiopharmaceutical = next(words for mass, words in MAA.items() if mass in str(drug))
    return kept


def _value(source: Dataset, keyword: str) -> Any:
    """A value, or None where it is absent or cannot be parsed."""
    try:
        return source.get(keyword)
    except Exception:  # foreign bytes make pydicom fail in any way
        return None


def _made(value: Any, rule: Rule | Words, patient: str, pseudonyms: Pseudonyms) -> Any:
    """The value that is stored; None for nothing."""
    if isinstance(rule, Words):
        words = [word for word in _several(value) if rule.keeps(str(word))]
        return (words if len(words) > 1 else words[0]) if words else None
    makers: dict[Rule, Callable[[], Any]] = {
        Rule.NUMBER: lambda: _numbers(value),
        Rule.UID: lambda: _each(value, lambda uid: pseudonyms.uid(str(uid))),
        Rule.DATE: lambda: _moved(value, patient, pseudonyms),
        Rule.ITEMS: lambda: _items(value, patient, pseudonyms),
        Rule.CODES: lambda: _codes(value, patient, pseudonyms),
    }
    return makers[rule]()


def _numbers(value: Any) -> Any:
    """Numbers without the characters they were written in."""
    numbers = []
    for number in _several(value):
        try:
            plain = float(number)
            numbers.append(
                int(plain) if plain.is_integer() and abs(plain) < 2**31 else DSfloat(plain, auto_format=True)
            )
        except (ValueError, TypeError, OverflowError):
            return None
    return numbers if len(numbers) > 1 else numbers[0] if numbers else None


def _fits(made: Any, keyword: str) -> bool:
    """Whether numbers are as many as the attribute has, and whole ones where it has no others."""
    numbers, wanted = _several(made), dictionary_VM(keyword)
    is_whole = not any(isinstance(number, DSfloat) for number in numbers)
    return (is_whole or dictionary_VR(keyword) == "DS") and (not wanted.isdigit() or len(numbers) == int(wanted))


def _moved(value: Any, patient: str, pseudonyms: Pseudonyms) -> str | None:
    text = value.strftime("%Y%m%d") if isinstance(value, date) else str(value).strip()
    try:
        day = datetime.strptime(text, "%Y%m%d").date()
        return pseudonyms.moved(day, patient).strftime("%Y%m%d") if day.year > 1900 else None
    except ValueError:
        return None


def _items(value: Any, patient: str, pseudonyms: Pseudonyms) -> Sequence | None:
    if not isinstance(value, Sequence):
        return None
    items = [_kept(item, patient, pseudonyms) for item in value]
    return Sequence(items) if any(len(item) for item in items) else None


def _codes(value: Any, patient: str, pseudonyms: Pseudonyms) -> Sequence | None:
    """Codes that the standard knows, in its words; what hangs on an item is treated as items are."""
    items = []
    for source in value if isinstance(value, Sequence) else ():
        code, scheme = str(_value(source, "CodeValue")), str(_value(source, "CodingSchemeDesignator"))
        if scheme in _OLD_SNOMED:
            code, scheme = mapping["SRT"].get(code, ""), "SCT"
        meaning = _MEANINGS.get((scheme, code))
        if meaning is not None:
            item = _kept(source, patient, pseudonyms)
            item.update(_item(code, scheme, meaning))
            items.append(item)
    return Sequence(items) if items else None


def _item(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _describe_device(stored: FileDataset, source: Dataset) -> None:
    """The vendor by its first word, if it is one of the list."""
    words = str(_value(source, "Manufacturer") or "").upper().split()
    stored.Manufacturer = words[0] if words and words[0] in VENDORS else ""


def _is_maa(drug: str) -> bool:
    """Macroaggregated albumin by any of its usual names."""
    text = drug.casefold()
    return "maa" in text.replace("-", " ").replace("_", " ").split() or "macro" in text


def _several(value: Any) -> list[Any]:
    is_one = isinstance(value, (str, bytes, int, float, date)) or not isinstance(value, Iterable)
    return [value] if is_one else list(value)  # bytes too are one: they come where a file lies about a VR


def _each(value: Any, make: Callable[[Any], Any]) -> Any:
    made = [make(part) for part in _several(value)]
    return made if len(made) > 1 else made[0] if made else None


def _meta(kept: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kept.SOPClassUID
    meta.MediaStorageSOPInstanceUID = kept.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "PERFUSION_NODE"
    return meta
