"""Dataset jobs through the worker process."""

from __future__ import annotations

import io
import tarfile

import pyarrow.parquet as pq
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
