"""What becomes of a worker's results, in one transaction of a real store."""

from __future__ import annotations

import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.train.v1.model_pb2 import (
    InitTask,
    Model,
    ModelJob,
    ModelJobResult,
    ModelSource,
    ModelVersion,
    ParityReport,
)
from bessemer.api.train.v1.training_job_pb2 import (
    Checkpoint,
    TrainingJob,
    TrainingResult,
    TrainingState,
    TrainingUsage,
)
from bessemer.artifacts.attestation import Signer, read_statement
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import Internal
from bessemer.svckit.store import Store
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from train_svc.app.model_jobs import import_task, model_jobs
from train_svc.app.training import TRAINING_JOBS

PROJECT = "projects/plant"
SIGNER = Signer(Ed25519PrivateKey.generate())
MODEL_JOBS = model_jobs(SIGNER)
BASE = ModelVersion(name=f"{PROJECT}/models/base/versions/v1", license="Apache-2.0")


@pytest.fixture
async def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/service.db", service="train", clock=SystemClock())
    await store.write(lambda tx: tx.put(BASE, verb="created"))
    yield store
    store.close()


def training_job(name: str) -> TrainingJob:
    return TrainingJob(
        name=f"{PROJECT}/trainingJobs/{name}",
        base_model_version=BASE.name,
        dataset_versions=[f"{PROJECT}/datasets/d/versions/v1"],
        model=f"{PROJECT}/models/own",
    )


def result(digest: str) -> bytes:
    return TrainingResult(
        manifest=ArtifactRef(key=f"{PROJECT}/m", sha256=digest), context_length=64, usage=TrainingUsage(steps=7)
    ).SerializeToString()


async def test_training_result_registers_a_version_with_its_origin(store):
    job = await store.write(lambda tx: TRAINING_JOBS.on_success(tx, training_job("one"), result("a" * 64), []))
    version = await store.read(lambda tx: tx.get(job.model_version, ModelVersion))
    assert version.name == f"{PROJECT}/models/own/versions/v1"
    assert (version.source, version.parent) == (ModelSource.MODEL_SOURCE_TRAINED, BASE.name)
    assert (version.training_job, version.license) == (job.name, "Apache-2.0")
    assert list(version.dataset_versions) == list(job.dataset_versions)
    assert job.usage.steps == 7
    assert (await store.read(lambda tx: tx.get(f"{PROJECT}/models/own", Model))).display_name == "own"


async def test_same_weights_again_are_found_not_registered_twice(store):
    names = []
    for name, digest in (("one", "a"), ("two", "b"), ("three", "a")):
        job = await store.write(
            lambda tx, name=name, digest=digest: TRAINING_JOBS.on_success(
                tx, training_job(name), result(digest * 64), []
            )
        )
        names.append(job.model_version.rsplit("/", 1)[-1])
    assert names == ["v1", "v2", "v1"]


async def test_imported_model_becomes_a_version_and_an_export_an_archive(store):
    job = ModelJob(name=f"{PROJECT}/modelJobs/in")
    import_task(job).model, import_task(job).license = f"{PROJECT}/models/base", "MIT"
    done = ModelJobResult(manifest=ArtifactRef(key=f"{PROJECT}/m", sha256="c" * 64), architecture="llama")
    job = await store.write(lambda tx: MODEL_JOBS.on_success(tx, job, done.SerializeToString(), []))
    version = await store.read(lambda tx: tx.get(job.model_version, ModelVersion))
    assert (version.name, version.license) == (f"{PROJECT}/models/base/versions/v2", "MIT")
    out = ModelJob(name=f"{PROJECT}/modelJobs/out")
    out.export.model_version = version.name
    archive = ModelJobResult(archive=ArtifactRef(key=f"{PROJECT}/archive", sha256="e" * 64), files={"a": "f" * 64})
    with pytest.raises(Internal, match="comparison did not pass"):
        await store.write(lambda tx: MODEL_JOBS.on_success(tx, out, archive.SerializeToString(), []))
    archive.parity.append(ParityReport(hop="export", passed=True))
    out = await store.write(lambda tx: MODEL_JOBS.on_success(tx, out, archive.SerializeToString(), []))
    assert (out.archive.key, out.model_version) == (f"{PROJECT}/archive", "")
    statement = read_statement(out.attestation, SIGNER.public)
    assert statement.subjects == {"archive": "e" * 64, "a": "f" * 64}
    assert statement.predicate["modelVersion"] == version.name


async def test_model_made_from_a_configuration_becomes_a_version_without_a_parent(store):
    job = ModelJob(name=f"{PROJECT}/modelJobs/new", init=InitTask(model=f"{PROJECT}/models/new"))
    done = ModelJobResult(manifest=ArtifactRef(key=f"{PROJECT}/m", sha256="d" * 64), architecture="qwen3_moe")
    job = await store.write(lambda tx: MODEL_JOBS.on_success(tx, job, done.SerializeToString(), []))
    version = await store.read(lambda tx: tx.get(job.model_version, ModelVersion))
    assert version.name == f"{PROJECT}/models/new/versions/v1"
    assert (version.source, version.parent) == (ModelSource.MODEL_SOURCE_INITIALISED, "")


async def test_progress_lists_each_checkpoint_once(store):
    job = training_job("one")
    for step, steps in ((20, 20), (20, 25), (40, 40)):
        state = TrainingState(
            checkpoint=Checkpoint(step=step, manifest=ArtifactRef(key=f"{PROJECT}/c{step}")),
            usage=TrainingUsage(steps=steps),
        ).SerializeToString()
        job = await store.write(lambda tx, job=job, state=state: TRAINING_JOBS.on_progress(tx, job, state))
    listed, _ = await store.read(lambda tx: tx.list(Checkpoint, job.name, page_size=10))
    assert [checkpoint.name.rsplit("/", 1)[-1] for checkpoint in listed] == ["step-000020", "step-000040"]
    assert job.usage.steps == 40
    changes = await store.read(lambda tx: tx.changes(0))
    assert sum(change.type.startswith("bessemer.train.checkpoint.") for change in changes) == 2
