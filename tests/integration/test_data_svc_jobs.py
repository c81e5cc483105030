"""Dataset jobs through the worker process."""

from __future__ import annotations

import io
import tarfile

import grpc
import pyarrow.parquet as pq
import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import dataset_job_service_pb2 as jobs
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_job_service_pb2_grpc import DatasetJobServiceStub
from data_svc.wiring import build

from tests.fixtures.manuals import PROJECT, curate, curation, documents, make_project, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_tokenizer


async def run(channel, job: DatasetJob) -> DatasetJob:
    """Create a dataset job and follow it to its end."""
    stub = DatasetJobServiceStub(channel)
    made = await stub.CreateDatasetJob(jobs.CreateDatasetJobRequest(parent=PROJECT, dataset_job=job))
    async for message in stub.WatchDatasetJob(jobs.WatchDatasetJobRequest(name=made.name)):
        if message.HasField("dataset_job"):
            made = message.dataset_job
    assert made.status.state == JobState.JOB_STATE_SUCCEEDED, made.status.error
    return made


async def test_export_holds_every_document_as_parquet(tmp_path):
    async with running("data", build, tmp_path) as service:
        await make_project(service.channel)
        archive = await upload(service.channel, "manuals.tar", documents())
        tokenizer = await upload(service.channel, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
        version = (await curate(service.channel, curation(archive, tokenizer))).dataset_version

        first = await run(service.channel, DatasetJob(export={"dataset_version": version}))
        assert first.export.format == "parquet"
        again = await run(service.channel, DatasetJob(export={"dataset_version": version}))
        assert again.result.archive == first.result.archive

        packed = (tmp_path / "objects" / first.result.archive.key).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            names = tar.getnames()
            tables = {
                name: pq.read_table(io.BytesIO(tar.extractfile(name).read()))
                for name in names
                if name.endswith(".parquet")
            }
        assert names == ["manifest.json", "heldout.parquet", "train.parquet"]
        assert tables["train.parquet"].column_names == ["id", "source", "text"]
        assert sum(table.num_rows for table in tables.values()) > 0
        assert "foreman" in tables["train.parquet"].column("text")[0].as_py()


async def test_assessment_advises_and_writes_a_report(tmp_path):
    async with running("data", build, tmp_path) as service:
        await make_project(service.channel)
        archive = await upload(service.channel, "manuals.tar", documents())
        tokenizer = await upload(service.channel, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
        version = (await curate(service.channel, curation(archive, tokenizer))).dataset_version

        task = {"dataset_version": version, "base_parameters": 135_000_000, "tokenizer": tokenizer.artifact}
        done = await run(service.channel, DatasetJob(assess=task))
        found = done.result.assessment
        assert done.inputs.tokenizer == tokenizer.artifact
        assert found.tokens > 0
        assert found.advice[0].flip
        assert next(m for m in found.measures if m.name == "broken_words").HasField("value")
        html = (tmp_path / "objects" / found.report.key).read_text()
        assert "What these documents are worth" in html
        assert "manuals/v1" in html


async def test_assessment_refuses_what_is_no_text_or_not_of_the_project(tmp_path):
    async with running("data", build, tmp_path) as service:
        await make_project(service.channel)
        stub = DatasetJobServiceStub(service.channel)

        async def refused(**task: object) -> grpc.StatusCode:
            request = jobs.CreateDatasetJobRequest(parent=PROJECT, dataset_job=DatasetJob(assess=task))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.CreateDatasetJob(request)
            return error.value.code()

        missing = f"{PROJECT}/datasets/manuals/versions/v9"
        elsewhere = "projects/other/datasets/manuals/versions/v1"
        assert await refused(dataset_version=missing) == grpc.StatusCode.NOT_FOUND
        assert await refused(dataset_version=elsewhere) == grpc.StatusCode.INVALID_ARGUMENT
        assert await refused(dataset_version=missing, base_parameters=-1) == grpc.StatusCode.INVALID_ARGUMENT
        assert await refused() == grpc.StatusCode.INVALID_ARGUMENT
