"""Erasure with its receipt, aliases and deletion of versions, through real gRPC and the worker process."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import grpc
import httpx
import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.data.v1 import artifact_service_pb2 as artifacts
from bessemer.api.data.v1 import dataset_job_service_pb2 as jobs
from bessemer.api.data.v1 import dataset_pb2 as data
from bessemer.api.data.v1 import dataset_service_pb2 as datasets
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_job_service_pb2_grpc import DatasetJobServiceStub
from bessemer.api.data.v1.dataset_service_pb2_grpc import DatasetServiceStub
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationSuite
from bessemer.api.event.v1 import eval_events_pb2, serve_events_pb2, train_events_pb2
from bessemer.api.serve.v1.deployment_pb2 import Deployment, DeploymentState
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import read_manifest
from bessemer.kernel.errors import BessemerError
from bessemer.svckit.objects_files import FileObjects
from bessemer.svckit.status import from_rpc_error
from data_svc.adapters.lineage_sql import LineageTables
from data_svc.app.uploads import incoming_key
from data_svc.events import lineage_handler
from data_svc.wiring import build

from tests.fixtures.manuals import DATASET, PROJECT, curate, curation, documents, make_project, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_tokenizer

JANE = "jane.doe@example.org"
SPELLED = "JANE.DOE@Example.ORG"  # as the person asked; no document spells it so
SALT = "5a" * 32
OWN, CHILD, OTHER = (f"{PROJECT}/models/{name}/versions/v1" for name in ("own", "child", "other"))
SERVED = f"{PROJECT}/endpoints/e/deployments/d"
SUITE = f"{PROJECT}/evaluationSuites/s"


def with_jane() -> bytes:
    """Return the manuals and two letters that name Jane."""
    stream = io.BytesIO(documents())
    with tarfile.open(fileobj=stream, mode="a") as archive:
        for number, topic in enumerate(("holidays in the north", "a new bicycle for the gate keeper")):
            body = "\n\n".join(
                f"Paragraph {n}. Jane Doe asks {n * 17 + number} times for {topic}; whoever reads this writes to "
                f"{JANE} before "
                f"{topic[::-1]} {n} is forgotten."
                for n in range(1, 6)
            ).encode()
            entry = tarfile.TarInfo(f"letters/{number}.txt")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return stream.getvalue()


@pytest.fixture
async def service(tmp_path):
    async with running("data", build, tmp_path) as it:
        await make_project(it.channel)
        yield it


async def make_version(channel, **recipe) -> str:
    archive = await upload(channel, "manuals.tar", with_jane())
    tokenizer = await upload(channel, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
    job = curation(archive, tokenizer)
    job.recipe.MergeFrom(data.CurationRecipe(**recipe))
    return (await curate(channel, job)).dataset_version


async def put_identifiers(channel, *identifiers: str) -> artifacts.Upload:
    content = json.dumps({"identifiers": identifiers, "salt": SALT}).encode()
    announced = await ArtifactServiceStub(channel).CreateUpload(
        artifacts.CreateUploadRequest(
            parent=PROJECT,
            file_name="identifiers.json",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
        )
    )
    async with httpx.AsyncClient() as http:
        (await http.put(announced.url, content=content)).raise_for_status()
    return announced


async def run(channel, job: DatasetJob, state: int = JobState.JOB_STATE_SUCCEEDED) -> DatasetJob:
    stub = DatasetJobServiceStub(channel)
    made = await stub.CreateDatasetJob(jobs.CreateDatasetJobRequest(parent=PROJECT, dataset_job=job))
    async for message in stub.WatchDatasetJob(jobs.WatchDatasetJobRequest(name=made.name)):
        if message.HasField("dataset_job"):
            made = message.dataset_job
    assert made.status.state == state, made.status.error
    return made


async def tell(service, version: str) -> None:
    """Let the lineage hear of a model trained on the version, its child, its deployment, and of a stranger."""
    model, suite = train_events_pb2.ModelVersionChanged, eval_events_pb2.EvaluationSuiteChanged
    ready = DeploymentState.DEPLOYMENT_STATE_READY
    handle = lineage_handler(LineageTables())
    for kind, message in [
        ("train.model_version.created", model(model_version=ModelVersion(name=OWN, dataset_versions=[version]))),
        ("train.model_version.created", model(model_version=ModelVersion(name=CHILD, parent=OWN))),
        ("train.model_version.created", model(model_version=ModelVersion(name=OTHER))),
        ("eval.evaluation_suite.created", suite(evaluation_suite=EvaluationSuite(name=SUITE, dataset_version=version))),
        (
            "serve.deployment.updated",
            serve_events_pb2.DeploymentChanged(deployment=Deployment(name=SERVED, model_version=CHILD, state=ready)),
        ),
    ]:
        event = EventRecord(type=f"bessemer.{kind}.v1", payload=message.SerializeToString())
        await service.service.store.write(lambda tx, event=event: handle(tx, event))


async def get(channel, name: str) -> data.DatasetVersion:
    return await DatasetServiceStub(channel).GetDatasetVersion(datasets.GetDatasetVersionRequest(name=name))


async def refused(call) -> BessemerError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def contents(home, version: data.DatasetVersion) -> dict[str, bytes]:
    blobs = Blobs(FileObjects(home / "objects"), "plant")
    return {entry.path: blobs.get_bytes(entry.ref) for entry in read_manifest(blobs, version.manifest).files}


async def test_erasure_leaves_no_trace_of_the_subject_and_names_who_saw_it(service, tmp_path):
    first = await make_version(service.channel)
    second = await make_version(service.channel, seed=1)  # of the same upload, so it holds the letters too
    await tell(service, first)
    announced = await put_identifiers(service.channel, SPELLED)

    done = await run(service.channel, DatasetJob(erase={"dataset_version": first, "identifiers": announced.name}))
    proof = done.result.receipt
    assert proof.num_documents == 2
    assert {document.source for document in proof.documents} == {"letters/0.txt", "letters/1.txt"}
    assert [node.name for node in proof.held_by] == [first, second, SUITE]
    assert [node.name for node in proof.models] == [CHILD, OWN]
    assert [node.name for node in proof.deployments] == [SERVED]
    assert proof.selector_sha256 == announced.artifact.sha256

    old, new = await get(service.channel, first), await get(service.channel, done.result.dataset_version)
    assert new.name == f"{DATASET}/versions/v3"
    assert (proof.old_sha256, proof.new_sha256) == (old.manifest.sha256, new.manifest.sha256)
    counts = {count.reason: count.documents for count in new.reasons}
    assert counts == {"kept": 8, "ERASED": 2}
    before, after = contents(tmp_path, old), contents(tmp_path, new)
    assert any(JANE.encode() in content for content in before.values())
    assert not any(JANE.encode() in content or b"letters/" in content for content in after.values())
    whole = json.loads((tmp_path / "objects" / proof.receipt_artifact.key).read_bytes())
    assert sum(piece_tokens(document) for document in whole["documents"]) == int(whole["tokens_removed"])

    assert not (tmp_path / "objects" / incoming_key(announced.name)).exists()
    for path in tmp_path.rglob("*"):  # database, write-ahead log, worker's log, objects
        if path.is_file():
            assert SPELLED.encode() not in path.read_bytes(), path


def piece_tokens(document) -> int:
    return sum(int(piece["length"]) for piece in document["pieces"])


async def test_erasure_that_finds_nothing_makes_no_version_and_says_so(service):
    version = await make_version(service.channel)
    announced = await put_identifiers(service.channel, "nobody@example.net")
    done = await run(service.channel, DatasetJob(erase={"dataset_version": version, "identifiers": announced.name}))
    assert done.result.receipt.num_documents == 0
    assert done.result.dataset_version == version
    everything = DatasetJob(erase={"dataset_version": version, "sources": ["*"]})
    failed = await run(service.channel, everything, JobState.JOB_STATE_FAILED)
    assert "delete the version instead" in failed.status.error.message


async def test_erasure_refuses_unclear_selectors_and_identifiers_that_would_stay(service):
    version = await make_version(service.channel)
    stub = DatasetJobServiceStub(service.channel)
    kept = await upload(service.channel, "identifiers.json", b'{"identifiers": ["x@y.org"]}')
    for task in ({}, {"sources": ["a"], "documents": ["0" * 32]}, {"identifiers": kept.name}):
        job = DatasetJob(erase={"dataset_version": version, **task})
        call = stub.CreateDatasetJob(jobs.CreateDatasetJobRequest(parent=PROJECT, dataset_job=job))
        assert (await refused(call)).code == "INVALID_ARGUMENT"


async def test_alias_names_a_version_wherever_one_is_named(service):
    version = await make_version(service.channel)
    stub = DatasetServiceStub(service.channel)
    by_alias = f"{DATASET}/versions/@stable"
    assert (await refused(get(service.channel, by_alias))).reason == "RESOURCE_NOT_FOUND"
    dataset = await stub.GetDataset(datasets.GetDatasetRequest(name=DATASET))
    request = datasets.SetDatasetVersionAliasRequest(name=DATASET, alias="stable", dataset_version=version)
    assert (await refused(stub.SetDatasetVersionAlias(request))).fields["field"] == "etag"
    request.etag = dataset.etag
    moved = await stub.SetDatasetVersionAlias(request)
    assert dict(moved.aliases) == {"stable": version}
    assert (await refused(stub.SetDatasetVersionAlias(request))).reason == "ETAG_MISMATCH"
    assert (await get(service.channel, by_alias)).name == version
    done = await run(service.channel, DatasetJob(erase={"dataset_version": by_alias, "sources": ["letters/*"]}))
    assert done.erase.dataset_version == version
    await stub.PreviewDatasetVersion(datasets.PreviewDatasetVersionRequest(name=by_alias))
    request.etag, request.dataset_version = moved.etag, f"{PROJECT}/datasets/other/versions/v1"
    assert (await refused(stub.SetDatasetVersionAlias(request))).fields["field"] == "dataset_version"
    request.dataset_version = ""
    await stub.SetDatasetVersionAlias(request)
    assert (await refused(get(service.channel, by_alias))).reason == "RESOURCE_NOT_FOUND"


async def test_deletion_removes_what_only_that_version_holds_and_keeps_its_digest(service, tmp_path):
    first = await make_version(service.channel)
    done = await run(service.channel, DatasetJob(erase={"dataset_version": first, "sources": ["letters/*"]}))
    stub = DatasetServiceStub(service.channel)
    old, new = await get(service.channel, first), await get(service.channel, done.result.dataset_version)
    archive = (await run(service.channel, DatasetJob(export={"dataset_version": first}))).result.archive
    kept = contents(tmp_path, new)
    request = datasets.DeleteDatasetVersionRequest(name=first)
    assert (await refused(stub.DeleteDatasetVersion(request))).fields["field"] == "etag"
    dataset = await stub.GetDataset(datasets.GetDatasetRequest(name=DATASET))
    alias = datasets.SetDatasetVersionAliasRequest(name=DATASET, alias="a", dataset_version=first, etag=dataset.etag)
    dataset = await stub.SetDatasetVersionAlias(alias)
    request.etag = old.etag
    assert (await refused(stub.DeleteDatasetVersion(request))).reason == "RESOURCE_IN_USE"
    alias.dataset_version, alias.etag = new.name, dataset.etag
    await stub.SetDatasetVersionAlias(alias)

    tombstone = await stub.DeleteDatasetVersion(request)
    assert tombstone.HasField("delete_time")
    assert (await get(service.channel, first)).manifest == old.manifest
    assert await stub.DeleteDatasetVersion(request) == tombstone  # asked again it changes nothing
    assert contents(tmp_path, new) == kept
    upload_keys = {"manuals.tar", "tokenizer.json"}
    assert not (tmp_path / "objects" / old.manifest.key).exists()
    assert not (tmp_path / "objects" / archive.key).exists()
    holding = [p for p in (tmp_path / "objects").rglob("*") if p.is_file() and JANE.encode() in p.read_bytes()]
    assert len(holding) == 1, upload_keys  # the upload itself
    preview = stub.PreviewDatasetVersion(datasets.PreviewDatasetVersionRequest(name=first))
    assert (await refused(preview)).reason == "RESOURCE_NOT_FOUND"
    again = await make_version(service.channel)
    assert again == f"{DATASET}/versions/v3"  # a deleted version is not found again
