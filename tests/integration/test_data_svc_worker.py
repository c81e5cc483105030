"""A curation job from documents to a sealed version, through the worker process."""

from __future__ import annotations

import json

import grpc
import httpx
import pytest
from bessemer.api.data.v1 import artifact_service_pb2 as artifacts
from bessemer.api.data.v1 import dataset_service_pb2 as datasets
from bessemer.api.data.v1 import lineage_service_pb2 as lineage
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.dataset_service_pb2_grpc import CurationServiceStub, DatasetServiceStub
from bessemer.api.data.v1.lineage_service_pb2_grpc import LineageServiceStub
from data_svc.wiring import build

from tests.fixtures.manuals import DATASET, PROJECT, SUBJECTS, curate, curation, documents, make_project, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_tokenizer


async def test_documents_become_a_sealed_version_once(tmp_path):
    async with running("data", build, tmp_path) as service:
        await make_project(service.channel)
        archive = await upload(service.channel, "manuals.tar", documents())
        tokenizer = await upload(service.channel, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
        job = await curate(service.channel, curation(archive, tokenizer))

        stub = DatasetServiceStub(service.channel)
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
        assert "document_characters" in {histogram.measure for histogram in profile.histograms}
        graph = await LineageServiceStub(service.channel).GetLineage(lineage.GetLineageRequest(name=version.name))
        assert [(edge.source, edge.relation) for edge in graph.edges] == [(archive.name, "curated_from")]

        again = await curate(service.channel, curation(archive, tokenizer))
        assert again.name != job.name
        assert again.dataset_version == version.name
        listed = await stub.ListDatasetVersions(datasets.ListDatasetVersionsRequest(parent=DATASET))
        assert [found.name for found in listed.dataset_versions] == [version.name]


async def test_dry_run_with_labels_reports_and_makes_no_version(tmp_path):
    lines = [{"text": f"The foreman of hall {n} checks the {SUBJECTS[n % 8]}.", "accept": True} for n in range(20)]
    lines += [{"text": f"Lunch on day {n} is soup {n}.", "accept": False} for n in range(20)]
    async with running("data", build, tmp_path) as service:
        await make_project(service.channel)
        archive = await upload(service.channel, "manuals.tar", documents())
        tokenizer = await upload(service.channel, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
        labels = await upload(service.channel, "labels.jsonl", "\n".join(map(json.dumps, lines)).encode())
        wanted = curation(archive, tokenizer)
        wanted.quality_labels = labels.name
        wanted.recipe.classifier_threshold = 0.5
        wanted.dry_run.SetInParent()
        job = await curate(service.channel, wanted)

        assert job.inputs.quality_labels == labels.artifact
        assert not job.dataset_version
        assert {count.reason: count.documents for count in job.reasons} == {"kept": len(SUBJECTS)}
        assert {split.split for split in job.dry_run.splits} == {"train", "heldout"}
        request = artifacts.CreateDownloadRequest(parent=PROJECT, artifact=job.dry_run.report)
        url = (await ArtifactServiceStub(service.channel).CreateDownload(request)).url
        async with httpx.AsyncClient() as http:
            assert "Least likely" in (await http.get(url)).text
        stub = DatasetServiceStub(service.channel)
        listed = await stub.ListDatasetVersions(datasets.ListDatasetVersionsRequest(parent=DATASET))
        assert not listed.dataset_versions

        wanted.quality_labels = ""
        refused = datasets.CreateCurationJobRequest(parent=PROJECT, curation_job=wanted)
        with pytest.raises(grpc.aio.AioRpcError, match="classifier_threshold needs documents") as error:
            await CurationServiceStub(service.channel).CreateCurationJob(refused)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
