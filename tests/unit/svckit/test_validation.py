from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from bessemer.api.common.v1 import options_pb2
from bessemer.api.data.v1.artifact_service_pb2 import CreateUploadRequest
from bessemer.api.data.v1.dataset_pb2 import Dataset
from bessemer.api.data.v1.dataset_service_pb2 import CreateDatasetRequest
from bessemer.api.eval.v1.evaluation_service_pb2 import CompareRunsRequest
from bessemer.api.serve.v1.inference_service_pb2 import ChatMessage, GenerateRequest, Prompt, SamplingParams
from bessemer.api.train.v1.training_job_pb2 import LoraConfig, TrainingJob, TrainingRecipe
from bessemer.api.train.v1.training_service_pb2 import CreateTrainingJobRequest, ListTrainingJobsRequest
from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.methods import method_table
from bessemer.svckit.validation import projects_in, validate

PROTOS = Path(__file__).resolve().parents[3] / "protos" / "bessemer" / "api"


def training(**recipe):
    return CreateTrainingJobRequest(
        parent="projects/p",
        training_job=TrainingJob(
            base_model_version="projects/q/models/m/versions/@champion",
            dataset_versions=["projects/r/datasets/d/versions/v"],
            model="projects/p/models/m",
            recipe=TrainingRecipe(**recipe),
        ),
    )


def generate(**sampling):
    return GenerateRequest(
        target="projects/p/endpoints/e",
        prompt=Prompt(messages=[ChatMessage(role="user", content="x")]),
        sampling=SamplingParams(**sampling),
    )


@pytest.mark.parametrize(
    "request_",
    [
        training(),
        training(learning_rate=1, weight_decay=0, warmup_fraction=0.5, steps=1, dtype="bf16"),
        training(lora=LoraConfig()),
        generate(temperature=0, top_p=1, seed=-5),
        CreateUploadRequest(parent="projects/p", file_name="a", sha256="0" * 64),
        ListTrainingJobsRequest(parent="projects/p", page_size=1000),
    ],
)
def test_validate_good_request_passes(request_):
    validate(request_, strict=True)


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (training(learning_rate=0), "training_job.recipe.learning_rate"),
        (training(learning_rate=math.nan), "training_job.recipe.learning_rate"),
        (training(gradient_clip_norm=math.inf), "training_job.recipe.gradient_clip_norm"),
        (training(warmup_fraction=-0.1), "training_job.recipe.warmup_fraction"),
        (training(lora=LoraConfig(rank=0)), "training_job.recipe.lora.rank"),
        (training(dtype=""), "training_job.recipe.dtype"),
        (CreateTrainingJobRequest(parent="projects/p"), "training_job"),
        (CreateTrainingJobRequest(), "parent"),
        (generate(temperature=2.1), "sampling.temperature"),
        (generate(temperature=-math.inf), "sampling.temperature"),
        (generate(stop=["x" * 257]), "sampling.stop[0]"),
        (generate(stop=["x"] * 17), "sampling.stop"),
        (GenerateRequest(target="projects/p/endpoints/e"), "prompt"),
        (ListTrainingJobsRequest(parent="projects/p", page_size=-1), "page_size"),
        (ListTrainingJobsRequest(parent="projects/p/"), "parent"),
        (ListTrainingJobsRequest(parent="projects/P"), "parent"),
        (ListTrainingJobsRequest(parent="projects/p\n"), "parent"),
        (ListTrainingJobsRequest(parent="projects/../etc"), "parent"),
        (CreateUploadRequest(parent="projects/p", file_name="a", sha256="A" * 64), "sha256"),
        (CreateDatasetRequest(parent="projects/p", dataset_id="9", dataset=Dataset()), "dataset_id"),
        (CreateDatasetRequest(parent="projects/p", dataset_id="d", dataset=Dataset(kind=77)), "dataset.kind"),
        (
            CreateDatasetRequest(parent="projects/p", dataset_id="d", dataset=Dataset(labels={"k" * 300: ""})),
            f"dataset.labels[{'k' * 80}]",
        ),
    ],
)
def test_validate_bad_request_names_the_field(request_, path):
    with pytest.raises(InvalidRequest) as caught:
        validate(request_, strict=True)
    assert caught.value.fields["field"] == path
    assert path in caught.value.message


def test_validate_message_states_range_and_value():
    with pytest.raises(InvalidRequest, match=r"learning_rate must be above 0 and at most 1; got 2\.0"):
        validate(training(learning_rate=2), strict=True)


def test_validate_unknown_field_is_refused_only_when_strict():
    request = training()
    request.training_job.MergeFromString(b"\xfa\x3e\x01a")
    validate(request, strict=False)
    with pytest.raises(InvalidRequest, match=r"training_job has a field of number 1007"):
        validate(request, strict=True)


def test_projects_in_finds_every_project_a_request_names():
    assert projects_in(training()) == {"p", "q", "r"}
    runs = CompareRunsRequest(baseline_run="projects/a/evaluationRuns/x", candidate_run="projects/b/evaluationRuns/y")
    assert projects_in(runs) == {"a", "b"}


def test_every_rule_is_for_a_field_it_can_hold_and_every_pattern_compiles():
    seen = set()

    def look(descriptor):
        if descriptor.full_name in seen:
            return
        seen.add(descriptor.full_name)
        for field in descriptor.fields:
            rules = field.GetOptions().Extensions[options_pb2.rules]
            text = field.cpp_type == field.CPPTYPE_STRING
            number = field.cpp_type in {1, 2, 3, 4, 5, 6}
            assert text or not (rules.name or rules.id or rules.pattern), field.full_name
            assert number or not any(map(rules.HasField, ("min", "max", "above"))), field.full_name
            assert field.is_repeated or not rules.max_items, field.full_name
            re.compile(rules.pattern)
            if field.message_type is not None:
                look(field.message_type)

    for method in method_table().values():
        look(method.request.DESCRIPTOR)
    assert len(seen) > 80


def test_every_request_field_documented_as_a_resource_name_has_a_rule():
    missing = []
    for path in PROTOS.rglob("*.proto"):
        message, comment = "", ""
        for line in path.read_text().splitlines():
            if line.startswith("message "):
                message = line.split()[1]
            if "//" in line:
                comment = line
            field = re.match(r"  (?:repeated )?string (\w+) = \d+;", line)
            if field and message.endswith("Request") and "`projects/{" in comment:
                missing.append(f"{message}.{field[1]}")
    assert not missing, "without a rule the caller's right to the project is not checked"
