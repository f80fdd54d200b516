"""What may be unusual about a digital patient: the frame that every condition fills.

A condition changes how the patient is built, or paints something into the finished thorax, or both; its truth follows
from the same formulas. Lung tissue without air (consolidated, collapsed, tumour) keeps the label of its lobe, as
contours for radiotherapy do (RTOG 1106 atlas of organs at risk); fluid and air between the pleurae are not lung; a
lobe that was taken out has no voxel. What a condition does to perfusion is said with it; the factors are inventions.

The conditions themselves are in `lesions`, `pleura`, `surgery`, `bodies` and
`scans`; `cases` names the patients that the tests and the documentation speak of.
"""

from collections.abc import Sequence

from inference.phantom.build import ThoraxBuild
from inference.phantom.canvas import Canvas, Mask


class Condition:
    """One thing that makes a digital patient unusual; conditions may be put together."""

    __slots__ = ()

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """The patient built differently."""
        return build

    def paint(self, canvas: Canvas) -> Mask:
        """Draw it into a thorax that is complete but for the noise.

        Labels, HU and perfusion of the canvas are changed in place.

        Returns:
            What was drawn; empty for a condition of the whole patient.
        """
        return canvas.nothing()


def changed(build: ThoraxBuild, conditions: Sequence[Condition]) -> ThoraxBuild:
    """The patient as the conditions leave it, for `field_of_view`."""
    for condition in conditions:
        build = condition.change(build)
    return build
