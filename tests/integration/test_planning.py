"""What a job would take, told before it runs and compared with what it took."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.train.v1 import (
    model_pb2 as models,
)
from bessemer.api.train.v1 import (
    planning_pb2 as plan,
)
from bessemer.api.train.v1 import (
    planning_service_pb2 as planning,
)
from bessemer.api.train.v1 import (
    training_job_pb2 as training,
)
from bessemer.api.train.v1 import (
    training_service_pb2 as calls,
)
from bessemer.api.train.v1.planning_service_pb2_grpc import PlanningServiceStub
from bessemer.api.train.v1.training_service_pb2_grpc import TrainingServiceStub
from bessemer.svckit.status import from_rpc_error
from data_svc.wiring import build as build_data
from train_svc.wiring import build as build_train

from tests.fixtures.manuals import PROJECT, curate, curation, documents, make_project, packed, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_train_svc_worker import run_model_job

RECIPE = training.TrainingRecipe(cpt={}, steps=6, tokens_per_step=128, dtype="fp32", threads=1)
MIXTRAL = {
    "model_type": "mixtral",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


@pytest.mark.slow
async def test_forecast_goes_by_past_jobs_and_is_kept_with_the_job(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await make_project(data_svc.channel)
        folder = make_tiny_model(tmp_path / "tiny")
        archive = await upload(data_svc.channel, "tiny.tar", packed(folder))
        task = {"import": models.ImportTask(model=f"{PROJECT}/models/base", upload=archive.name, license="MIT")}
        base = (await run_model_job(train_svc.channel, models.ModelJob(**task))).model_version
        manuals = await upload(data_svc.channel, "manuals.tar", documents())
        tokenizer = await upload(data_svc.channel, "tokenizer.json", (folder / "tokenizer.json").read_bytes())
        data = (await curate(data_svc.channel, curation(manuals, tokenizer))).dataset_version
        stub, jobs = PlanningServiceStub(train_svc.channel), TrainingServiceStub(train_svc.channel)

        async def estimate(**fields) -> planning.EstimateTrainingJobResponse:
            asked = {"parent": PROJECT, "dataset_versions": [data], "recipe": RECIPE, **fields}
            return await stub.EstimateTrainingJob(planning.EstimateTrainingJobRequest(**asked))

        first = await estimate(base_model_version=base)
        assert first.forecast.basis == plan.FORECAST_BASIS_DEVICE_TABLE
        assert first.parameters.total == first.parameters.trained
        assert (first.forecast.steps, first.forecast.tokens) == (6, 768)
        assert first.plans[0].kind == plan.PLAN_KIND_NONE  # a few hundred tokens teach nothing
        assert "times what there is" in first.plans[0].flip
        assert {option.kind for option in first.plans} == {1, 2, 3, 4}

        wanted = training.TrainingJob(
            base_model_version=base, dataset_versions=[data], recipe=RECIPE, model=f"{PROJECT}/models/own"
        )
        job = await jobs.CreateTrainingJob(calls.CreateTrainingJobRequest(parent=PROJECT, training_job=wanted))
        assert job.forecast.seconds.value == pytest.approx(first.forecast.seconds.value)
        async with asyncio.timeout(180):
            async for message in jobs.WatchTrainingJob(calls.WatchTrainingJobRequest(name=job.name)):
                job = message.training_job if message.HasField("training_job") else job
        assert job.status.state == JobState.JOB_STATE_SUCCEEDED, job.status
        assert job.usage.peak_memory_bytes == pytest.approx(job.forecast.memory.total, rel=0.2)
        assert job.usage.flops == pytest.approx(job.forecast.flops, rel=0.2)

        second = await estimate(base_model_version=base)
        assert second.forecast.basis == plan.FORECAST_BASIS_SAME_SHAPE
        assert second.forecast.measured_job == job.name
        assert second.forecast.memory.total >= job.usage.peak_memory_bytes
        named = await estimate(base_model_version=base, calibration_job=job.name)
        assert named.forecast.basis == plan.FORECAST_BASIS_CALIBRATION
        longer = await estimate(base_model_version=base, recipe=training.TrainingRecipe(cpt={}, sequence_length=256))
        assert longer.forecast.basis == plan.FORECAST_BASIS_OTHER_SHAPE

        device = plan.Device(kind="h100", count=8, price_per_hour=2.5, price_per_kwh=0.3)
        large = await estimate(config_json=json.dumps(MIXTRAL), device=device)
        assert (large.parameters.total, large.parameters.active) == (46_702_792_704, 12_879_925_248)
        assert not large.memory[0].fits
        assert large.memory[-1].fits
        assert large.forecast.cost > 2.5 * large.forecast.device_hours
        assert not large.forecast.HasField("loss")  # published fits begin at 100 million tokens
        for wrong in ({}, {"config_json": "{}"}, {"config_json": "[", "base_model_version": base}):
            with pytest.raises(grpc.RpcError) as caught:
                await estimate(**wrong)
            assert from_rpc_error(caught.value).reason == "FIELD_INVALID"
