"""Models taken out through the worker processes, in every format, and proved offline."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile

import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.train.v1 import model_pb2 as models
from bessemer.api.train.v1 import model_service_pb2 as calls
from bessemer.api.train.v1.model_service_pb2_grpc import ModelServiceStub
from bessemer.artifacts.attestation import load_public_key, read_statement
from bessemer.artifacts.bundle import digests_of, verify_bundle
from bessemer.kernel.errors import DataLoss, InvalidRequest
from data_svc.wiring import build as build_data
from train_svc.domain.exports import FORMATS
from train_svc.wiring import build as build_train

from tests.fixtures.manuals import PROJECT, make_project, packed, upload
from tests.fixtures.running import running
from tests.fixtures.trained_model import make_trained_model


async def run_model_job(channel, job: models.ModelJob) -> models.ModelJob:
    stub = ModelServiceStub(channel)
    made = await stub.CreateModelJob(calls.CreateModelJobRequest(parent=PROJECT, model_job=job))
    async with asyncio.timeout(240):
        async for step in stub.WatchModelJob(calls.WatchModelJobRequest(name=made.name)):
            if step.HasField("model_job"):
                made = step.model_job
    assert made.status.state == JobState.JOB_STATE_SUCCEEDED, made.status
    return made


@pytest.mark.slow
async def test_every_format_leaves_with_its_proof(tmp_path):
    pytest.importorskip("llama_cpp")
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await make_project(data_svc.channel)
        archive = await upload(data_svc.channel, "tiny.tar", packed(make_trained_model(tmp_path / "tiny")))
        task = {"import": models.ImportTask(model=f"{PROJECT}/models/base", upload=archive.name, license="MIT")}
        imported = await run_model_job(train_svc.channel, models.ModelJob(**task))
        for form in FORMATS:
            fact = models.EvaluationFact(suite=f"{PROJECT}/evaluationSuites/facts", metric="score", value=0.75, cases=8)
            wanted = models.ExportTask(model_version=imported.model_version, format=form, evaluations=[fact])
            done = await run_model_job(train_svc.channel, models.ModelJob(export=wanted))
            (report,) = done.parity
            assert report.passed
            assert {check.name for check in report.checks} >= {"template/conversations", "logits/kl_mean"}
            assert report.precision == done.export.precision == FORMATS[form][0]
            folder = tmp_path / form
            bundle = tmp_path / f"{form}.tar"
            bundle.write_bytes((tmp_path / "objects" / done.archive.key).read_bytes())
            prove(bundle, folder, done.attestation, tmp_path / "credentials" / "artifacts.pub")
            card = (folder / "MODEL_CARD.md").read_text()
            assert all(word in card for word in ("MIT", "imported", "facts", "0.75", imported.model_version))


def prove(bundle, folder, attestation, key) -> None:
    """What was signed holds for archive and folder, for `sha256sum`, and for nothing else."""
    statement = read_statement(attestation, load_public_key(key))
    verify_bundle(digests_of(bundle), statement)
    with tarfile.open(bundle) as tar:
        tar.extractall(folder, filter="data")
    verify_bundle(digests_of(folder), statement)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    extra = folder / "extra.json"
    extra.write_text("{}")
    with pytest.raises(DataLoss, match=r"extra\.json was added"):
        verify_bundle(digests_of(folder), statement)
    extra.unlink()
    forged = json.loads(attestation)
    forged["payload"] = forged["payload"][:-8] + "AAAAAAA="
    with pytest.raises(InvalidRequest, match="changed after it was signed"):
        read_statement(json.dumps(forged).encode(), load_public_key(key))
