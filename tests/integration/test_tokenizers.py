"""A tokenizer trained on curated documents, and one extended and given to its model, through the worker processes."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import dataset_job_service_pb2 as jobs
from bessemer.api.data.v1.dataset_job_pb2 import ComparedTokenizer, DatasetJob, TrainedTokenizer, TrainTokenizerTask
from bessemer.api.data.v1.dataset_job_service_pb2_grpc import DatasetJobServiceStub
from bessemer.api.train.v1 import model_pb2 as models
from bessemer.api.train.v1 import model_service_pb2 as model_calls
from bessemer.api.train.v1.model_service_pb2_grpc import ModelServiceStub
from data_svc.wiring import build as build_data
from tokenizers import Tokenizer
from train_svc.wiring import build as build_train

from tests.fixtures.manuals import PROJECT, curate, curation, documents, make_project, packed, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_model


async def train_tokenizer(channel, task: TrainTokenizerTask) -> TrainedTokenizer:
    stub = DatasetJobServiceStub(channel)
    job = DatasetJob(train_tokenizer=task)
    made = await stub.CreateDatasetJob(jobs.CreateDatasetJobRequest(parent=PROJECT, dataset_job=job))
    async with asyncio.timeout(180):
        async for message in stub.WatchDatasetJob(jobs.WatchDatasetJobRequest(name=made.name)):
            if message.HasField("dataset_job"):
                made = message.dataset_job
    assert made.status.state == JobState.JOB_STATE_SUCCEEDED, made.status.error
    return made.result.trained_tokenizer


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
async def test_tokenizer_is_extended_and_given_to_its_model(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await make_project(data_svc.channel)
        archive = await upload(data_svc.channel, "tiny.tar", packed(make_tiny_model(tmp_path / "tiny")))
        task = {"import": models.ImportTask(model=f"{PROJECT}/models/base", upload=archive.name, license="MIT")}
        imported = await run_model_job(train_svc.channel, models.ModelJob(**task))
        registry = ModelServiceStub(train_svc.channel)
        base = await registry.GetModelVersion(model_calls.GetModelVersionRequest(name=imported.model_version))
        tokenizer = await upload(data_svc.channel, "tokenizer.json", (tmp_path / "tiny/tokenizer.json").read_bytes())
        manuals = await upload(data_svc.channel, "manuals.tar", documents())
        version = (await curate(data_svc.channel, curation(manuals, tokenizer))).dataset_version

        wanted = TrainTokenizerTask(dataset_version=version, base=base.tokenizer, added_tokens=40)
        made = await train_tokenizer(data_svc.channel, wanted)
        assert (made.added_tokens, made.measured_split) == (40, "heldout")
        everything = made.rows[0]
        new, old = everything.tokenizers
        assert (new.label, old.label, everything.group) == ("new", "base", "all")
        assert new.tokens < old.tokens
        assert made.verdict.saving == pytest.approx(1 - new.tokens / old.tokens)
        assert not made.verdict.worth_it  # a few manuals are far from 50 M tokens
        assert "from 50 M on" in made.verdict.reason
        assert {row.group for row in made.rows} == {"all", "format", "language", "source"}

        task = models.ExtendVocabularyTask(
            model_version=base.name, tokenizer=made.tokenizer, initialisation=made.initialisation
        )
        done = await run_model_job(train_svc.channel, models.ModelJob(extend_vocabulary=task))
        grown = await registry.GetModelVersion(model_calls.GetModelVersionRequest(name=done.model_version))
        assert (grown.parent, grown.license, grown.tokenizer) == (base.name, "MIT", made.tokenizer)
        assert grown.source == models.ModelSource.MODEL_SOURCE_EXTENDED
        assert grown.parameters == base.parameters + 40 * 64
        facts = json.loads((tmp_path / "objects" / grown.manifest.key).read_bytes())["facts"]
        assert facts["bits_per_byte_after"] < 1.25 * facts["bits_per_byte_before"]


async def test_new_tokenizer_is_trained_and_curates(tmp_path):
    async with running("data", build_data, tmp_path) as service:
        await make_project(service.channel)
        archive = await upload(service.channel, "manuals.tar", documents())
        model = make_tiny_model(tmp_path / "tiny")
        old = await upload(service.channel, "tokenizer.json", (model / "tokenizer.json").read_bytes())
        version = (await curate(service.channel, curation(archive, old))).dataset_version
        wanted = TrainTokenizerTask(
            dataset_version=version,
            vocabulary_size=360,
            others=[ComparedTokenizer(label="tiny/v1", tokenizer=old.artifact)],
        )
        made = await train_tokenizer(service.channel, wanted)
        assert await train_tokenizer(service.channel, wanted) == made
        tokenizer = Tokenizer.from_str((tmp_path / "objects" / made.tokenizer.key).read_text())
        assert tokenizer.get_vocab_size() == made.vocabulary_size == 360
        assert tokenizer.token_to_id("<|endoftext|>") == 0
        assert [one.label for one in made.rows[0].tokenizers] == ["new", "tiny/v1"]
        assert not made.HasField("verdict")
        report = (tmp_path / "objects" / made.report.key).read_text()
        assert "Fertility on the heldout split" in report

        job = curation(archive, old)
        job.tokenizer.CopyFrom(made.tokenizer)
        assert (await curate(service.channel, job)).dataset_version != version


NONSENSE = [
    {"vocabulary_size": 100},
    {"vocabulary_size": 1000, "added_tokens": 3},
    {"vocabulary_size": 1000, "special_tokens": ["<a>", "<a>"]},
    {"added_tokens": 10},
    {"vocabulary_size": 1000, "others": [{"label": "new"}]},
]


async def test_task_that_makes_no_sense_is_refused(tmp_path):
    async with running("data", build_data, tmp_path) as service:
        await make_project(service.channel)
        archive = await upload(service.channel, "manuals.tar", documents())
        model = make_tiny_model(tmp_path / "tiny")
        old = await upload(service.channel, "tokenizer.json", (model / "tokenizer.json").read_bytes())
        version = (await curate(service.channel, curation(archive, old))).dataset_version
        stub = DatasetJobServiceStub(service.channel)
        for change in NONSENSE:
            job = DatasetJob(train_tokenizer={"dataset_version": version, **change})
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.CreateDatasetJob(jobs.CreateDatasetJobRequest(parent=PROJECT, dataset_job=job))
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, change
