"""A model brought in, trained on curated documents and taken out again, through the worker processes."""

from __future__ import annotations

import asyncio

import pytest
from bessemer.api.common.v1.job_pb2 import JobState
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
from data_svc.wiring import build as build_data
from train_svc.wiring import build as build_train

from tests.fixtures.manuals import PROJECT, curate, curation, documents, make_project, packed, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_model


async def run_model_job(channel, job: models.ModelJob) -> models.ModelJob:
    stub = ModelServiceStub(channel)
    made = await stub.CreateModelJob(model_calls.CreateModelJobRequest(parent=PROJECT, model_job=job))
    async with asyncio.timeout(180):
        async for step in stub.WatchModelJob(model_calls.WatchModelJobRequest(name=made.name)):
            if step.HasField("model_job"):
                made = step.model_job
    assert made.status.state == JobState.JOB_STATE_SUCCEEDED, made.status
    return made


@pytest.mark.slow
async def test_model_is_imported_trained_and_exported(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await make_project(data_svc.channel)
        folder = make_tiny_model(tmp_path / "tiny")
        archive = await upload(data_svc.channel, "tiny.tar", packed(folder))
        task = {"import": models.ImportTask(model=f"{PROJECT}/models/base", upload=archive.name, license="MIT")}
        imported = await run_model_job(train_svc.channel, models.ModelJob(**task))
        manuals = await upload(data_svc.channel, "manuals.tar", documents())
        tokenizer = await upload(data_svc.channel, "tokenizer.json", (folder / "tokenizer.json").read_bytes())
        curated = await curate(data_svc.channel, curation(manuals, tokenizer))

        stub = TrainingServiceStub(train_svc.channel)
        wanted = training.TrainingJob(
            base_model_version=imported.model_version,
            dataset_versions=[curated.dataset_version],
            recipe=training.TrainingRecipe(
                cpt=training.CptMethod(),
                lora=training.LoraConfig(rank=2),
                steps=4,
                tokens_per_step=128,
                checkpoint_every_steps=2,
                dtype="fp32",
            ),
            model=f"{PROJECT}/models/own",
        )
        job = await stub.CreateTrainingJob(calls.CreateTrainingJobRequest(parent=PROJECT, training_job=wanted))
        steps = []
        async with asyncio.timeout(180):
            async for batch in stub.StreamMetrics(calls.StreamMetricsRequest(name=job.name)):
                steps += [point.step for point in batch.points if point.key == "train/loss"]
        job = await stub.GetTrainingJob(calls.GetTrainingJobRequest(name=job.name))
        assert job.status.state == JobState.JOB_STATE_SUCCEEDED, job.status
        assert steps == [1, 2, 3, 4]
        assert job.usage.steps == 4
        listed = await stub.ListCheckpoints(calls.ListCheckpointsRequest(parent=job.name))
        assert "step-000002" in {checkpoint.name.rsplit("/", 1)[-1] for checkpoint in listed.checkpoints}

        registry = ModelServiceStub(train_svc.channel)
        version = await registry.GetModelVersion(model_calls.GetModelVersionRequest(name=job.model_version))
        assert (version.parent, version.training_job) == (imported.model_version, job.name)
        assert version.adapter_rank == 2
        assert (version.license, version.tokenizer) == ("MIT", (await base(registry, imported)).tokenizer)
        export = models.ModelJob(export=models.ExportTask(model_version=version.name))
        assert (await run_model_job(train_svc.channel, export)).archive.size_bytes > 0


async def base(registry, imported: models.ModelJob) -> models.ModelVersion:
    return await registry.GetModelVersion(model_calls.GetModelVersionRequest(name=imported.model_version))
