"""The cut that is shown of a patient is one with lung and with the defect."""

from dataclasses import replace

import numpy as np

from tests.training.report.made_up_study import made_up_case
from training.report.patients_chapter import row_shown


def test_the_cut_goes_through_the_defect_where_there_is_much_lung() -> None:
    case = made_up_case("LC-001", ("hu", "lungs"), spacing_mm=13.0)
    lung = np.count_nonzero(case.lungs, axis=(0, 2))
    middle = int(np.argmax(lung))
    defects = np.zeros_like(case.defects)
    defects[:, middle + 1][case.lungs[:, middle + 1]] = 1
    edge = int(np.flatnonzero(lung)[0])
    defects[:, edge][case.lungs[:, edge]] = 1
    assert row_shown(replace(case, defects=defects)) == middle + 1
    assert lung[row_shown(replace(case, defects=np.zeros_like(defects)))] == lung.max()
