"""train_svc over real gRPC, with a real data_svc beside it."""

from __future__ import annotations

import asyncio
import hashlib
import math

import grpc
import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import (
    artifact_service_pb2 as artifacts,
)
from bessemer.api.data.v1 import (
    dataset_pb2 as data,
)
from bessemer.api.data.v1 import (
    lineage_service_pb2 as lineage,
)
from bessemer.api.data.v1 import (
    project_service_pb2 as projects,
)
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.lineage_service_pb2_grpc import LineageServiceStub
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
from bessemer.api.train.v1 import (
    model_pb2 as models,
)
from bessemer.api.train.v1 import (
    model_service_pb2 as model_calls,
)
from bessemer.api.train.v1 import (
    training_job_pb2 as training,
)
from bessemer.api.train.v1 import (
    training_service_pb2 as calls,
)
from bessemer.api.train.v1.model_service_pb2_grpc import ModelServiceStub
from bessemer.api.train.v1.training_service_pb2_grpc import TrainingServiceStub
from bessemer.kernel.errors import BessemerError
from bessemer.svckit.status import from_rpc_error
from data_svc.wiring import build as build_data
from train_svc.wiring import build as build_train

from tests.fixtures.running import running

PROJECT = "projects/plant"
MODEL = f"{PROJECT}/models/base"
SETS = f"{PROJECT}/datasets"


def ref(text: str) -> ArtifactRef:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ArtifactRef(key=f"{PROJECT}/blobs/sha256/{digest}", sha256=digest, size_bytes=len(text))


BASE = models.ModelVersion(
    name=f"{MODEL}/versions/v1",
    source=models.ModelSource.MODEL_SOURCE_IMPORTED,
    manifest=ref("weights"),
    tokenizer=ref("tokenizer"),
    context_length=256,
    license="Apache-2.0",
)


def dataset(name: str, kind: str, *, rows: int = 9, length: int = 0, tokenizer: str = "") -> data.DatasetVersion:
    return data.DatasetVersion(
        name=f"{SETS}/{name}/versions/v1",
        kind=data.DatasetKind.Value(f"DATASET_KIND_{kind}"),
        manifest=ref(name),
        splits=[data.SplitCounts(split="train", rows=rows)],
        sequence_length=length,
        tokenizer_sha256=ref(tokenizer).sha256 if tokenizer else "",
    )


DATASETS = [
    dataset("text", "TEXT", length=64, tokenizer="tokenizer"),
    dataset("long", "TEXT", length=512, tokenizer="tokenizer"),
    dataset("foreign", "TEXT", length=64, tokenizer="another tokenizer"),
    dataset("chat", "CHAT"),
    dataset("empty", "CHAT", rows=0),
]


@pytest.fixture
async def both(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await ProjectServiceStub(data_svc.channel).CreateProject(projects.CreateProjectRequest(project_id="plant"))
        await put(data_svc, *DATASETS)
        await put(train_svc, models.Model(name=MODEL), BASE)
        yield data_svc, train_svc


async def put(service, *resources):
    for resource in resources:
        await service.service.store.write(lambda tx, resource=resource: tx.put(resource, verb="created"))


async def refused(call) -> BessemerError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def job(*versions: str, method: str = "cpt", base: str = BASE.name, **recipe) -> training.TrainingJob:
    made = training.TrainingJob(
        base_model_version=base,
        dataset_versions=[f"{SETS}/{version}/versions/v1" for version in versions],
        recipe=training.TrainingRecipe(**recipe),
        model=f"{PROJECT}/models/own",
    )
    if method:
        getattr(made.recipe, method).SetInParent()
    return made


async def test_training_job_with_a_mistake_is_refused_with_its_reason(both):
    elsewhere = job("text")
    elsewhere.model = "projects/mill/models/own"
    expected = {
        "unknown base": (job("text", base=f"{MODEL}/versions/v9"), "RESOURCE_NOT_FOUND", ""),
        "unknown alias": (job("text", base=f"{MODEL}/versions/@champion"), "RESOURCE_NOT_FOUND", ""),
        "unknown data": (job("none"), "RESOURCE_NOT_FOUND", ""),
        "data twice": (job("text", "text"), "FIELD_INVALID", "training_job.dataset_versions"),
        "no method": (job("text", method=""), "FIELD_INVALID", "training_job.recipe.method"),
        "data of another kind": (job("chat"), "FIELD_INVALID", "training_job.dataset_versions[0]"),
        "data of another tokenizer": (job("text", "foreign"), "TOKENIZER_MISMATCH", ""),
        "no data in it": (job("empty", method="sft"), "DATASET_EMPTY", ""),
        "rows beyond the context": (job("long"), "FIELD_INVALID", "training_job.recipe.sequence_length"),
        "rows shorter than packed": (
            job("text", sequence_length=32),
            "FIELD_INVALID",
            "training_job.recipe.sequence_length",
        ),
        "not a number": (job("text", learning_rate=math.nan), "FIELD_INVALID", "training_job.recipe.learning_rate"),
        "out of range": (job("text", warmup_fraction=0.6), "FIELD_INVALID", "training_job.recipe.warmup_fraction"),
        "model of another project": (elsewhere, "FIELD_INVALID", "training_job.model"),
    }
    stub = TrainingServiceStub(both[1].channel)
    for what, (wrong, reason, field) in expected.items():
        error = await refused(
            stub.CreateTrainingJob(calls.CreateTrainingJobRequest(parent=PROJECT, training_job=wrong))
        )
        assert (error.reason, error.fields.get("field", "")) == (reason, field), f"{what}: {error.message}"
    assert not (await stub.ListTrainingJobs(calls.ListTrainingJobsRequest(parent=PROJECT))).training_jobs


async def test_training_job_is_queued_with_all_defaults_and_pinned_inputs(both):
    stub = TrainingServiceStub(both[1].channel)
    registry = ModelServiceStub(both[1].channel)
    model = await registry.GetModel(model_calls.GetModelRequest(name=MODEL))
    alias = model_calls.SetVersionAliasRequest(name=MODEL, alias="champion", model_version=BASE.name, etag=model.etag)
    await registry.SetVersionAlias(alias)
    wanted = job("text", base=f"{MODEL}/versions/@champion", steps=3)
    request = calls.CreateTrainingJobRequest(parent=PROJECT, training_job=wanted, request_id="train-1")
    queued = await stub.CreateTrainingJob(request)
    assert queued.status.state == JobState.JOB_STATE_QUEUED
    assert queued.base_model_version == BASE.name
    assert queued.inputs.model_manifest == BASE.manifest
    assert list(queued.inputs.dataset_manifests) == [DATASETS[0].manifest]
    assert queued.recipe == training.TrainingRecipe(
        cpt=training.CptMethod(),
        learning_rate=5e-5,
        steps=3,
        tokens_per_step=1024,
        sequence_length=64,
        warmup_fraction=0.05,
        decay_fraction=0.3,
        weight_decay=0.01,
        gradient_clip_norm=1,
        checkpoint_every_steps=20,
        seed=0,
        threads=2,
        dtype="auto",
        num_ranks=1,
        trained_weights="all",
    )
    assert (await stub.CreateTrainingJob(request)).name == queued.name
    states = []
    async with asyncio.timeout(60):
        async for step in stub.WatchTrainingJob(calls.WatchTrainingJobRequest(name=queued.name)):
            if not states:
                await stub.CancelTrainingJob(calls.CancelTrainingJobRequest(name=queued.name))
            states.append(step.training_job.status.state)
    assert states[-1] == JobState.JOB_STATE_CANCELLED
    late = await refused(stub.PauseTrainingJob(calls.PauseTrainingJobRequest(name=queued.name)))
    assert late.reason == "JOB_TERMINAL"
    metrics = await stub.QueryMetrics(calls.QueryMetricsRequest(name=queued.name))
    assert not metrics.points
    checkpoints = await stub.ListCheckpoints(calls.ListCheckpointsRequest(parent=queued.name))
    assert not checkpoints.checkpoints


async def test_reward_models_are_pinned_and_read_the_same_tokens(both):
    judge, foreign = (
        models.ModelVersion(
            name=f"{MODEL}/versions/{name}", manifest=ref(name), tokenizer=ref(tokenizer), context_length=256
        )
        for name, tokenizer in (("judge", "tokenizer"), ("foreign", "another tokenizer"))
    )
    await put(both[1], judge, foreign)
    stub = TrainingServiceStub(both[1].channel)

    def create(*judges: models.ModelVersion, **more):
        wanted = job("chat", method="online_dpo")
        wanted.recipe.online_dpo.MergeFrom(
            training.OnlineDpoMethod(reward_models=[version.name for version in judges], **more)
        )
        return stub.CreateTrainingJob(calls.CreateTrainingJobRequest(parent=PROJECT, training_job=wanted))

    queued = await create(judge)
    assert list(queued.inputs.reward_manifests) == [judge.manifest]
    assert queued.recipe.online_dpo.reward_pessimism == 1.0
    assert not queued.recipe.online_dpo.HasField("grader")
    assert (await refused(create(judge, foreign))).reason == "TOKENIZER_MISMATCH"
    assert (await refused(create(judge, grader="exact"))).fields["field"] == "training_job.recipe.online_dpo.grader"


async def test_training_job_without_data_svc_is_unavailable(tmp_path):
    async with running("train", build_train, tmp_path, peers={"data": "127.0.0.1:1"}) as train_svc:
        await put(train_svc, models.Model(name=MODEL), BASE)
        stub = TrainingServiceStub(train_svc.channel)
        request = calls.CreateTrainingJobRequest(parent=PROJECT, training_job=job("text"))
        assert (await refused(stub.CreateTrainingJob(request, timeout=20))).code == "UNAVAILABLE"


async def test_alias_moves_only_with_the_current_etag(both):
    stub = ModelServiceStub(both[1].channel)
    model = await stub.GetModel(model_calls.GetModelRequest(name=MODEL))
    request = model_calls.SetVersionAliasRequest(name=MODEL, alias="champion", model_version=BASE.name)
    assert (await refused(stub.SetVersionAlias(request))).fields["field"] == "etag"
    request.etag = model.etag
    moved = await stub.SetVersionAlias(request)
    assert moved.aliases["champion"] == BASE.name
    assert (await refused(stub.SetVersionAlias(request))).reason == "ETAG_MISMATCH"
    by_alias = model_calls.GetModelVersionRequest(name=f"{MODEL}/versions/@champion")
    assert (await stub.GetModelVersion(by_alias)).name == BASE.name
    request.etag, request.model_version = moved.etag, ""
    await stub.SetVersionAlias(request)
    assert (await refused(stub.GetModelVersion(by_alias))).reason == "RESOURCE_NOT_FOUND"
    request.model_version = f"{PROJECT}/models/other/versions/v1"
    assert (await refused(stub.SetVersionAlias(request))).fields["field"] == "model_version"


async def test_model_jobs_pin_what_they_read(both):
    data_svc, train_svc = both
    uploads = ArtifactServiceStub(data_svc.channel)
    announced = await uploads.CreateUpload(
        artifacts.CreateUploadRequest(parent=PROJECT, file_name="m.gguf", sha256="1" * 64, size_bytes=1)
    )
    stub = ModelServiceStub(train_svc.channel)

    def imported(**source):
        task = {"import": models.ImportTask(model=f"{PROJECT}/models/own", **source)}
        return model_calls.CreateModelJobRequest(parent=PROJECT, model_job=models.ModelJob(**task))

    assert (await refused(stub.CreateModelJob(imported(upload=announced.name)))).reason == "SOURCE_INVALID"
    assert (await refused(stub.CreateModelJob(imported()))).fields["field"] == "model_job.import.source"
    empty = model_calls.CreateModelJobRequest(parent=PROJECT, model_job=models.ModelJob())
    assert (await refused(stub.CreateModelJob(empty))).fields["field"] in {"model_job", "model_job.task"}
    export = models.ModelJob(export=models.ExportTask(model_version=BASE.name))
    queued = await stub.CreateModelJob(model_calls.CreateModelJobRequest(parent=PROJECT, model_job=export))
    assert queued.export.format == "safetensors"
    assert queued.inputs.model_manifest == BASE.manifest
    blob = ArtifactRef(key=f"{PROJECT}/blobs/sha256/{'1' * 64}", sha256="1" * 64)
    init = models.InitTask(model=f"{PROJECT}/models/own", config="{}", tokenizer=blob, seed=3)
    elsewhere = ArtifactRef(key=f"projects/other/blobs/sha256/{'1' * 64}", sha256="1" * 64)
    for field, wrong in (("model", "projects/other/models/own"), ("tokenizer", elsewhere)):
        task = models.InitTask.FromString(init.SerializeToString())
        task.ClearField(field)
        task.MergeFrom(models.InitTask(**{field: wrong}))
        call = model_calls.CreateModelJobRequest(parent=PROJECT, model_job=models.ModelJob(init=task))
        assert (await refused(stub.CreateModelJob(call))).fields["field"] == f"model_job.init.{field}"
    call = model_calls.CreateModelJobRequest(parent=PROJECT, model_job=models.ModelJob(init=init))
    made = await stub.CreateModelJob(call)
    assert made.init == init
    await stub.CancelModelJob(model_calls.CancelModelJobRequest(name=made.name))
    await stub.CancelModelJob(model_calls.CancelModelJobRequest(name=queued.name))


async def test_lineage_follows_the_events_of_train_svc(tmp_path):
    source = dataset("text", "TEXT", length=64, tokenizer="tokenizer")
    own = models.ModelVersion(
        name=f"{PROJECT}/models/own/versions/v1",
        manifest=ref("own weights"),
        parent=BASE.name,
        dataset_versions=[source.name],
    )
    async with running("train", build_train, tmp_path, peers={"data": "127.0.0.1:1"}) as train_svc:
        await put(train_svc, models.Model(name=MODEL), BASE, own)
        async with running("data", build_data, tmp_path, peers={"train": train_svc.address}) as data_svc:
            await _check_lineage(LineageServiceStub(data_svc.channel), source.name, own.name)


async def _check_lineage(stub, source: str, own: str) -> None:
    up = lineage.LineageDirection.LINEAGE_DIRECTION_UPSTREAM
    async with asyncio.timeout(60):
        while True:
            try:
                graph = await stub.GetLineage(lineage.GetLineageRequest(name=own, direction=up))
                break
            except grpc.RpcError:  # nothing is known until the event has arrived
                await asyncio.sleep(0.1)
    assert {(edge.source, edge.target, edge.relation) for edge in graph.edges} == {
        (source, own, "trained_on"),
        (BASE.name, own, "trained_from"),
    }
    assert {node.name: node.kind for node in graph.nodes}[source] == "datasetVersions"
    down = lineage.GetLineageRequest(name=BASE.name)
    assert [edge.target for edge in (await stub.GetLineage(down)).edges] == [own]
    away = lineage.GetLineageRequest(name=BASE.name, direction=up)
    assert not (await stub.GetLineage(away)).edges
