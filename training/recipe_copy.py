"""The recipe that a study was planned from, kept beside its results.

So a folder of results says by itself what was asked, whatever became of `configs/study/` since.
"""

import shutil
from pathlib import Path

from training.insilico.files.whole_folder import whole_folder
from training.jobs import RECIPE
from training.recipe import Recipe, read_recipe


def keep_recipe(config: Path, study: Path) -> Recipe:
    """Copy the files of a recipe into the folder of a study, in place of an older one.

    Args:
        config: folder of the recipe.
        study: folder of the study; made if absent.

    Raises:
        RecipeError: it is no recipe; the older one stays.
        OSError: the file system refuses.
    """
    recipe = read_recipe(config)
    study.mkdir(parents=True, exist_ok=True)
    with whole_folder(study / RECIPE) as folder:
        for path in sorted(config.glob("*.toml")):
            shutil.copyfile(path, folder / path.name)
    shutil.rmtree(study / ".making", ignore_errors=True)
    return recipe


def kept_recipe(study: Path) -> Recipe:
    """The recipe of a study.

    Raises:
        RecipeError: there is none.
    """
    return read_recipe(study / RECIPE)
