"""Recipes get every default written down."""

from __future__ import annotations

import pytest
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.api.train.v1.training_job_pb2 import (
    CptMethod,
    DpoMethod,
    GrpoMethod,
    LoraConfig,
    PretrainMethod,
    SftMethod,
    TrainingJob,
    TrainingRecipe,
)
from bessemer.kernel.errors import InvalidRequest
from train_svc.domain.inputs import check_names, sequence_length
from train_svc.domain.recipe import resolve

ADAPTERS = LoraConfig()


@pytest.mark.parametrize(
    ("recipe", "rate"),
    [
        (TrainingRecipe(cpt=CptMethod()), 5e-5),
        (TrainingRecipe(sft=SftMethod()), 5e-5),
        (TrainingRecipe(sft=SftMethod(), lora=ADAPTERS), 5e-4),
        (TrainingRecipe(dpo=DpoMethod()), 1e-5),
        (TrainingRecipe(dpo=DpoMethod(), lora=ADAPTERS), 1e-4),
        (TrainingRecipe(dpo=DpoMethod(), learning_rate=0.25), 0.25),
        (TrainingRecipe(pretrain=PretrainMethod()), 1e-3),
        (TrainingRecipe(grpo=GrpoMethod(), lora=ADAPTERS), 5e-5),
    ],
)
def test_learning_rate_depends_on_method_and_adapters(recipe, rate):
    assert resolve(recipe, threads=2).learning_rate == rate


def test_what_is_set_stays_and_what_depends_on_data_stays_unset():
    recipe = TrainingRecipe(dpo=DpoMethod(beta=0.3), lora=LoraConfig(rank=4), seed=7, weight_decay=0)
    full = resolve(recipe, threads=3)
    assert (full.dpo.beta, full.dpo.nll_weight) == (0.3, 1.0)
    assert (full.lora.rank, full.lora.alpha) == (4, 8.0)
    assert (full.seed, full.weight_decay, full.threads) == (7, 0, 3)
    assert not full.HasField("steps")
    assert not full.HasField("sequence_length")
    assert resolve(full, threads=5) == full
    assert not recipe.HasField("threads")


def test_sequence_length_is_512_but_never_beyond_the_context():
    recipe = TrainingRecipe(sft=SftMethod())
    assert sequence_length(recipe, ModelVersion(context_length=2048), []) == 512
    assert sequence_length(recipe, ModelVersion(context_length=128), []) == 128
    recipe.sequence_length = 129
    with pytest.raises(InvalidRequest):
        sequence_length(recipe, ModelVersion(context_length=128), [])


def test_label_noise_is_set_for_robust_only():
    assert resolve(TrainingRecipe(dpo=DpoMethod(loss="robust")), threads=1).dpo.label_noise == 0.1
    assert not resolve(TrainingRecipe(dpo=DpoMethod()), threads=1).dpo.HasField("label_noise")


def test_environment_stands_for_data_and_grades_itself():
    recipe = resolve(TrainingRecipe(grpo=GrpoMethod(environment="basic_arithmetic")), threads=1)
    assert recipe.steps == 200
    assert not recipe.grpo.HasField("grader")
    check_names(TrainingJob(recipe=recipe))
    with pytest.raises(InvalidRequest, match="name no data"):
        check_names(TrainingJob(recipe=recipe, dataset_versions=["projects/p/datasets/d/versions/v1"]))
    with pytest.raises(InvalidRequest, match="grader"):
        resolve(TrainingRecipe(grpo=GrpoMethod(environment="basic_arithmetic", grader="exact")), threads=1)
    plain = resolve(TrainingRecipe(grpo=GrpoMethod()), threads=1)
    assert plain.grpo.grader == "numeric"
    with pytest.raises(InvalidRequest, match="either"):
        check_names(TrainingJob(recipe=plain))
    with pytest.raises(InvalidRequest, match="not a mixture"):
        check_names(TrainingJob(recipe=plain, mixture="projects/p/mixtures/m"))


def test_pretraining_adapters_is_refused():
    with pytest.raises(InvalidRequest, match="lora"):
        resolve(TrainingRecipe(pretrain=PretrainMethod(), lora=ADAPTERS), threads=1)
