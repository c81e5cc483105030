"""A curation job from documents to a sealed version, through the worker process."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile

import httpx
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import (
    artifact_service_pb2 as artifacts,
    dataset_pb2 as data,
    dataset_service_pb2 as datasets,
    lineage_service_pb2 as lineage,
    project_service_pb2 as projects,
)
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.dataset_service_pb2_grpc import CurationServiceStub, DatasetServiceStub
from bessemer.api.data.v1.lineage_service_pb2_grpc import LineageServiceStub
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
from data_svc.wiring import build

from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_tokenizer

PROJECT = "projects/plant"
DATASET = f"{PROJECT}/datasets/manuals"
SUBJECTS = ("converter", "furnace", "ladle", "mould", "rolling mill", "crane", "blower", "cooling bed")


def documents() -> bytes:
    """Return a tar of short manuals, each about another machine and in words of its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, subject in enumerate(SUBJECTS):
            text = "\n\n".join(
                f"Chapter {chapter}. The {subject} of hall {number} is inspected after {chapter * 17 + number} charges. "
                f"Before anybody touches the {subject}, the foreman writes {subject[::-1]} {number} into the book."
                for chapter in range(1, 6)
            ).encode()
            entry = tarfile.TarInfo(f"manuals/{subject.replace(' ', '-')}.txt")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return stream.getvalue()


async def upload(service, file_name: str, content: bytes):
    stub = ArtifactServiceStub(service.channel)
    announced = await stub.CreateUpload(
        artifacts.CreateUploadRequest(
            parent=PROJECT, file_name=file_name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        )
    )
    async with httpx.AsyncClient() as http:
        (await http.put(announced.url, content=content)).raise_for_status()
    return await stub.CompleteUpload(artifacts.CompleteUploadRequest(name=announced.name))


async def curate(service, job: data.CurationJob) -> data.CurationJob:
    stub = CurationServiceStub(service.channel)
    made = await stub.CreateCurationJob(datasets.CreateCurationJobRequest(parent=PROJECT, curation_job=job))
    async with asyncio.timeout(180):
        async for step in stub.WatchCurationJob(datasets.WatchCurationJobRequest(name=made.name)):
            if step.HasField("curation_job"):
                made = step.curation_job
    assert made.status.state == JobState.JOB_STATE_SUCCEEDED, made.status
    return made


async def test_documents_become_a_sealed_version_once(tmp_path):
    async with running("data", build, tmp_path) as service:
        await ProjectServiceStub(service.channel).CreateProject(projects.CreateProjectRequest(project_id="plant"))
        stub = DatasetServiceStub(service.channel)
        text = data.Dataset(kind=data.DatasetKind.DATASET_KIND_TEXT)
        await stub.CreateDataset(datasets.CreateDatasetRequest(parent=PROJECT, dataset_id="manuals", dataset=text))
        archive = await upload(service, "manuals.tar", documents())
        tokenizer = await upload(service, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
        wanted = data.CurationJob(
            dataset=DATASET,
            uploads=[archive.name],
            tokenizer=tokenizer.artifact,
            recipe=data.CurationRecipe(sequence_length=64, heldout_fraction=0.25),
        )
        job = await curate(service, wanted)

        version = await stub.GetDatasetVersion(datasets.GetDatasetVersionRequest(name=job.dataset_version))
        assert version.name == f"{DATASET}/versions/v1"
        assert version.tokenizer_sha256 == tokenizer.artifact.sha256
        assert version.sequence_length == 64
        assert {split.split for split in version.splits} == {"train", "heldout"}
        assert sum(count.documents for count in version.reasons) == len(SUBJECTS)
        assert list(version.sources) == [archive.name]
        assert job.reasons == version.reasons

        preview = await stub.PreviewDatasetVersion(
            datasets.PreviewDatasetVersionRequest(name=version.name, split="train", rows=2)
        )
        assert len(preview.rows) == 2
        assert "foreman" in preview.rows[0].text
        assert preview.rows[0].source.endswith(".txt")
        profile = await stub.ProfileDatasetVersion(datasets.ProfileDatasetVersionRequest(name=version.name))
        assert profile.categories["split/train"] > 0
        assert {histogram.measure for histogram in profile.histograms} >= {"document_characters"}
        graph = await LineageServiceStub(service.channel).GetLineage(lineage.GetLineageRequest(name=version.name))
        assert [(edge.source, edge.relation) for edge in graph.edges] == [(archive.name, "curated_from")]

        again = await curate(service, wanted)
        assert again.name != job.name
        assert again.dataset_version == version.name
        listed = await stub.ListDatasetVersions(datasets.ListDatasetVersionsRequest(parent=DATASET))
        assert [found.name for found in listed.dataset_versions] == [version.name]
