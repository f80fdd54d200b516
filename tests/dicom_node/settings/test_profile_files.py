from pathlib import Path

import pytest

from dicom_node.objects.codes import RoiType
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.profile import Sets, StructureGroup, StructureSetProfile
from dicom_node.settings.profile_files import read_profile, shipped_profiles


def test_the_planning_systems_named_in_the_documentation_have_a_profile() -> None:
    assert shipped_profiles() == ("eclipse", "generic", "mim", "monaco", "raystation")


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_loads_under_its_own_name_and_says_what_it_rests_on(name: str) -> None:
    profile = read_profile(name, Path())
    assert profile.name == name
    assert profile.basis


def test_the_generic_profile_shows_every_default_as_it_is() -> None:
    generic = read_profile("generic", Path())
    assert generic.digest() == StructureSetProfile().digest()


def test_a_file_of_the_site_is_read_relative_to_the_site_file(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text('name = "ours"\nfunction_roi_type = "AVOIDANCE"\nstructures = ["function"]\n')
    profile = read_profile("ours.toml", tmp_path)
    assert profile.function_roi_type is RoiType.AVOIDANCE
    assert profile.structures == (StructureGroup.FUNCTION,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('name = "ours"\nlabel = "MUCH TOO LONG A LABEL"\n', "label"),
        ('name = "ours"\nseparator = "^"\n', "separator"),
        ('name = "ours"\nmost_points = 50000\n', "most_points"),
        ('name = "ours"\nstructures = []\n', "structures"),
        ("name = ours\n", "ours.toml"),
    ],
)
def test_a_mistake_in_a_profile_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "ours.toml").write_text(content)
    with pytest.raises(ValueError, match=words):
        read_profile("ours.toml", tmp_path)


def test_an_unknown_profile_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="eclipse"):
        read_profile("pinnacle", tmp_path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_profile("absent.toml", tmp_path)


def test_one_set_holds_everything_and_two_sets_part_anatomy_from_function() -> None:
    one = StructureSetProfile(name="eclipse").contents()
    assert one == {ObjectRole(ObjectKind.STRUCTURE_SET, "eclipse"): tuple(StructureGroup)}
    two = StructureSetProfile(sets=Sets.TWO).contents()
    assert {str(role): groups for role, groups in two.items()} == {
        "structure-set.anatomy": (StructureGroup.LUNGS, StructureGroup.LOBES),
        "structure-set.function": (StructureGroup.FUNCTION,),
    }
    only_function = StructureSetProfile(name="x", sets=Sets.TWO, structures=(StructureGroup.FUNCTION,)).contents()
    assert [str(role) for role in only_function] == ["structure-set.x-function"]


def test_name_and_basis_do_not_change_an_object_and_everything_else_does() -> None:
    generic = StructureSetProfile()
    assert StructureSetProfile(name="other", basis="because").digest() == generic.digest()
    others = (
        StructureSetProfile(name_separator="_"),
        StructureSetProfile(label="X"),
        StructureSetProfile(function_roi_type=RoiType.CONTROL),
        StructureSetProfile(sets=Sets.TWO),
        StructureSetProfile(structures=(StructureGroup.LUNGS,)),
        StructureSetProfile(most_points=500),
    )
    assert len({profile.digest() for profile in (generic, *others)}) == 7
