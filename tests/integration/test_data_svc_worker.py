"""A curation job from documents to a sealed version, through the worker process."""

from __future__ import annotations

from bessemer.api.data.v1 import dataset_service_pb2 as datasets
from bessemer.api.data.v1 import lineage_service_pb2 as lineage
from bessemer.api.data.v1.dataset_service_pb2_grpc import DatasetServiceStub
from bessemer.api.data.v1.lineage_service_pb2_grpc import LineageServiceStub
from data_svc.wiring import build

from tests.fixtures.manuals import DATASET, SUBJECTS, curate, curation, documents, make_project, upload
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
