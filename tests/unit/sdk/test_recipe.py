from __future__ import annotations

import pytest
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk.recipe import parse_recipe


def test_recipe_file_and_settings_give_the_message(tmp_path):
    path = tmp_path / "cpt.toml"
    path.write_text("learning_rate = 5e-5\nsteps = 60\n[lora]\nrank = 8\n[cpt]\n")
    recipe = parse_recipe(TrainingRecipe, path, ["steps=10", "lora.alpha=32", "dtype=fp32"])
    assert recipe.WhichOneof("method") == "cpt"
    assert (recipe.steps, recipe.lora.rank, recipe.lora.alpha, recipe.dtype) == (10, 8, 32.0, "fp32")
    assert recipe.learning_rate == 5e-5


def test_recipe_unknown_key_names_the_nearest(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("learning_rat = 1\n")
    with pytest.raises(InvalidRequest, match="did you mean learning_rate") as caught:
        parse_recipe(TrainingRecipe, path)
    assert caught.value.fields["field"] == "learning_rat"


def test_recipe_unknown_nested_key_names_its_path():
    with pytest.raises(InvalidRequest) as caught:
        parse_recipe(TrainingRecipe, None, ["lora.rnk=4"])
    assert caught.value.fields["field"] == "lora.rnk"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_recipe_number_that_is_not_finite_is_refused(value):
    with pytest.raises(InvalidRequest, match="finite") as caught:
        parse_recipe(TrainingRecipe, None, [f"learning_rate={value}"])
    assert caught.value.fields["field"] == "learning_rate"


@pytest.mark.parametrize("text", ["steps = ", "= 3", "[cpt\n"])
def test_recipe_that_is_no_toml_is_refused(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match="cannot read recipe"):
        parse_recipe(TrainingRecipe, path)


def test_recipe_of_the_wrong_type_is_refused():
    with pytest.raises(InvalidRequest, match="steps"):
        parse_recipe(TrainingRecipe, None, ['steps="many"'])


def test_recipe_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="cannot read recipe"):
        parse_recipe(TrainingRecipe, tmp_path / "absent.toml")
