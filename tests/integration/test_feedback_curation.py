"""Feedback into dataset versions through real gRPC and the worker process; and out of them again on request."""

from __future__ import annotations

import json
import random

import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import feedback_service_pb2 as feedback
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_pb2 import Dataset, DatasetKind
from bessemer.api.data.v1.dataset_service_pb2 import CreateDatasetRequest
from bessemer.api.data.v1.dataset_service_pb2_grpc import DatasetServiceStub
from bessemer.api.data.v1.feedback_curation_pb2 import FeedbackForm
from bessemer.api.data.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from bessemer.svckit.objects_files import FileObjects
from data_svc.wiring import build

from tests.fixtures.manuals import PROJECT, make_project
from tests.fixtures.running import running
from tests.integration.test_data_svc_erasure import contents, get, refused, run

MODEL = f"{PROJECT}/models/m/versions/v1"
KINDS = {"chat": DatasetKind.DATASET_KIND_CHAT, "preference": DatasetKind.DATASET_KIND_PREFERENCE}


@pytest.fixture
async def service(tmp_path):
    async with running("data", build, tmp_path) as it:
        await make_project(it.channel)
        for name, kind in KINDS.items():
            await DatasetServiceStub(it.channel).CreateDataset(
                CreateDatasetRequest(parent=PROJECT, dataset_id=name, dataset=Dataset(kind=kind))
            )
        yield it


async def say(channel, number: int, **fields: object) -> feedback.FeedbackRecord:
    draw = random.Random(number)
    given = {
        "response_id": f"r{number}",
        "model_version": MODEL,
        "rating": feedback.RATING_UP if draw.random() < 0.5 else feedback.RATING_DOWN,
        "prompt_json": json.dumps([{"role": "user", "content": f"How hot is furnace {number}?"}]),
        "answer": f"It is {draw.randrange(900, 1700)} degrees; ask operator-{number}@example.org.",
        "edited_answer": f"It is {number} degrees." if number % 4 == 0 else "",
        "user": f"user-{number % 20}",
        "consent": "training",
    }
    record = feedback.FeedbackRecord(**{**given, **fields})
    return await FeedbackServiceStub(channel).SubmitFeedback(
        feedback.SubmitFeedbackRequest(parent=PROJECT, feedback=record)
    )


def task(**fields: object) -> DatasetJob:
    given = {
        "dataset": f"{PROJECT}/datasets/chat",
        "model_versions": [MODEL],
        "user_share_max": 0.2,
        "rated_min": 20,
        "down_min": 5,
    }
    return DatasetJob(curate_feedback={**given, **fields})


async def test_feedback_becomes_a_version_whose_rows_lead_back_to_records(service, tmp_path):
    records = [await say(service.channel, number) for number in range(60)]
    await say(service.channel, 100, consent="")
    await say(service.channel, 101, model_version=f"{PROJECT}/models/m/versions/v2")
    done = await run(service.channel, task())
    found = done.result.feedback
    fates = {count.reason: count.documents for count in found.reasons}
    assert fates["CONSENT_MISSING"] == 1
    assert sum(fates.values()) == 61  # what is about other versions is not looked at
    assert "scrub@1" in found.operators
    version = await get(service.channel, done.result.dataset_version)
    assert list(version.sources) == [MODEL]
    files = contents(tmp_path, version)
    rows = [json.loads(line) for line in files["train/rows.jsonl"].splitlines()]
    assert {row["source"] for row in rows} <= {record.name for record in records}
    assert b"@example.org" not in b"".join(files.values())
    assert not list(FileObjects(tmp_path / "objects").list("projects/plant/work/feedback/"))  # held what was said


async def test_the_same_feedback_in_three_forms(service):
    for number in range(60):
        await say(service.channel, number)
    for form, dataset in (("ACCEPTED", "chat"), ("THUMBS", "preference"), ("EDITS", "preference")):
        wanted = FeedbackForm.Value(f"FEEDBACK_FORM_{form}")
        done = await run(service.channel, task(form=wanted, dataset=f"{PROJECT}/datasets/{dataset}"))
        version = await get(service.channel, done.result.dataset_version)
        assert version.kind == KINDS[dataset]
        exported = await run(service.channel, DatasetJob(export={"dataset_version": version.name}))
        assert exported.result.archive.size_bytes > 0


async def test_too_little_says_how_much_is_missing(service):
    for number in range(8):
        await say(service.channel, number)
    failed = await run(service.channel, task(down_min=50), JobState.JOB_STATE_FAILED)
    assert "8 ratings that count are too few, 20 are needed" in failed.status.error.message


async def test_a_wrong_dataset_or_no_version_is_refused(service):
    for wrong, field in (
        (task(form=FeedbackForm.FEEDBACK_FORM_THUMBS), "dataset"),
        (task(model_versions=[]), "model_versions"),
        (task(consents=["none"]), "consents"),
        (task(redact=["names"]), "redact"),
    ):
        error = await refused(run(service.channel, wrong))
        assert error.fields["field"].startswith(f"dataset_job.curate_feedback.{field}")


async def test_who_takes_back_what_they_said_is_nowhere_any_more(service, tmp_path):
    for number in range(60):
        await say(service.channel, number)
    done = await run(service.channel, task())
    stub = FeedbackServiceStub(service.channel)
    everything = (await stub.ListFeedback(feedback.ListFeedbackRequest(parent=PROJECT, page_size=100))).feedback
    erased = [record.name for record in everything if record.user == "user-4"]
    assert len(erased) == 3
    for name in erased:
        request = feedback.EraseFeedbackRequest(name=name, request_id=name.rpartition("/")[2])
        assert (await stub.EraseFeedback(request)) == (await stub.EraseFeedback(request))
    listed = (await stub.ListFeedback(feedback.ListFeedbackRequest(parent=PROJECT, page_size=100))).feedback
    bare = [record for record in listed if record.HasField("erase_time")]
    assert {record.name for record in bare} == set(erased)
    assert not any(record.answer or record.prompt_json or record.user for record in bare)
    events = await service.service.store.read(lambda tx: tx.changes(0, limit=10_000))
    told = b"".join(event.payload for event in events if event.resource in set(erased))
    assert b"furnace" not in told
    assert b"user-4" not in told

    version = done.result.dataset_version
    gone = await run(service.channel, DatasetJob(erase={"dataset_version": version, "sources": erased}))
    left = contents(tmp_path, await get(service.channel, gone.result.dataset_version))
    assert not any(name.encode() in data for name in erased for data in left.values())
    counts = await stub.CountFeedback(feedback.CountFeedbackRequest(parent=PROJECT, model_versions=[MODEL]))
    assert counts.num_up + counts.num_down == 57
    assert counts.num_users == 19
