"""How a perfusion image lies on a CT: by Frame of Reference, else by a registration object, else found here.

An equal Frame of Reference is believed, as the standard means it (PS3.3 C.7.4.1), but figures are made of every link:
a patient who moved between the two scans of a hybrid camera shares it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.nuclear_image import NuclearImage
from training.pairs.orientation import better_reversed
from training.pairs.pair import Link, LinkKind, Problem, ProblemCode
from training.pairs.registration_object import RegistrationObject
from training.pairs.rigid import Rigid
from training.pairs.rigid_registration import LungPicture, link_quality, register

LEAST_COUNTS_IN_LUNGS = 0.7
"""Below, a link is poor; shunts and scatter lower it too (limit ours, not tuned on patients)."""
LEAST_LUNGS_SEEN = 0.95
"""Below, the camera's field cuts the lungs off (limit ours)."""
MOST_APART_MM = 2.0
MOST_APART_DEG = 1.0
"""Registration objects that differ by more, at the middle of the lungs, contradict each other (limits ours)."""


@dataclass(frozen=True, slots=True)
class KnownMovement:
    """What headers say of two frames of reference, before any pixel is looked at."""

    kind: LinkKind
    rigid: Rigid | None
    """None: nothing is said, and the images must speak."""
    registration: Path | None = None
    others: tuple[Rigid, ...] = ()
    """What further registration objects say."""


def known_movement(
    spect_frame_uid: str, ct_frame_uid: str, registrations: Sequence[tuple[Path, RegistrationObject]]
) -> KnownMovement:
    """The best that headers say.

    Args:
        spect_frame_uid: Frame of Reference UID of the perfusion image, or empty.
        ct_frame_uid: that of the CT.
        registrations: of the patient, with their files; of several that link the two, the first is taken.
    """
    if spect_frame_uid and spect_frame_uid == ct_frame_uid:
        return KnownMovement(LinkKind.FRAME_OF_REFERENCE, Rigid.identity())
    said = [(path, each.link(spect_frame_uid, ct_frame_uid)) for path, each in registrations if spect_frame_uid]
    links = [(path, rigid) for path, rigid in said if rigid is not None]
    if not links:
        return KnownMovement(LinkKind.REGISTERED, None)
    (path, rigid), *others = links
    return KnownMovement(LinkKind.REGISTRATION_OBJECT, rigid, path, tuple(other for _, other in others))


def link(picture: LungPicture, spect: NuclearImage, known: KnownMovement) -> Link:
    """The link, with its figures and what is wrong with them."""
    rigid = known.rigid if known.rigid is not None else register(picture, spect)
    quality = link_quality(picture, spect, rigid)
    problems = []
    if known.kind is LinkKind.REGISTERED:
        sentence = (
            "CT and SPECT share no Frame of Reference and no registration object links them: laid on each other here"
        )
        problems.append(Problem(ProblemCode.REGISTERED_HERE, sentence))
    problems += [*_contradicted(picture, rigid, known.others), *_reversed(picture, spect), *_poor(quality)]
    return Link(known.kind, rigid, quality, tuple(problems))


def _contradicted(picture: LungPicture, rigid: Rigid, others: Sequence[Rigid]) -> list[Problem]:
    apart = [rigid.after(other.inverse) for other in others]
    worst = [
        each for each in apart if each.shift_mm(picture.centre_mm) > MOST_APART_MM or each.angle_deg > MOST_APART_DEG
    ]
    if not worst:
        return []
    sentence = (
        f"{len(worst)} further registration object(s) lay the SPECT elsewhere, up to "
        f"{max(each.shift_mm(picture.centre_mm) for each in worst):.0f} mm away; the first by its UID was taken"
    )
    return [Problem(ProblemCode.REGISTRATIONS_DIFFER, sentence)]


def _reversed(picture: LungPicture, spect: NuclearImage) -> list[Problem]:
    axes = better_reversed(picture, spect)
    if not axes:
        return []
    sentence = f"the SPECT would lie better on the CT reversed {' and '.join(axes)}: does its header say how it lies?"
    return [Problem(ProblemCode.MAYBE_REVERSED, sentence)]


def _poor(quality: Mapping[str, float]) -> list[Problem]:
    found = []
    for name, least, what in (
        ("counts_in_lungs", LEAST_COUNTS_IN_LUNGS, "of the counts lie in or near the lungs of the CT"),
        ("lungs_seen", LEAST_LUNGS_SEEN, "of the lungs of the CT lie inside the SPECT"),
    ):
        if quality[name] < least:
            sentence = f"only {quality[name]:.0%} {what}, where {least:.0%} are expected"
            found.append(Problem(ProblemCode.LINK_POOR, sentence))
    return found
