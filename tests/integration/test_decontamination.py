"""From a sealed suite in eval_svc to a document that data_svc refuses: two real services, events, a worker process."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.data.v1 import dataset_service_pb2 as datasets
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.data.v1.dataset_service_pb2_grpc import CurationServiceStub
from bessemer.api.eval.v1 import evaluation_pb2 as ev
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from bessemer.api.event.v1 import eval_events_pb2
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import read_contamination_set
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.artifacts.texts import text_files
from bessemer.svckit.objects import ObjectsConfig, open_objects
from data_svc.adapters.contamination_sql import SuiteTable
from data_svc.events import suite_handler
from data_svc.wiring import build as build_data
from eval_svc.wiring import build as build_eval

from tests.fixtures.manuals import PROJECT, curate, curation, documents, make_project, packed, upload
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_tokenizer

SUITE = f"{PROJECT}/evaluationSuites/canary"
QUESTION = (
    "Which alloy did Henrietta Quill pour when the northern bell of Zanzibar rang for the seventh time that night?"
)
ANSWER = "Kellerite with four parts of palladium"
CANARIES = ("Henrietta", "Zanzibar", "Kellerite", "northern bell")
CASES = [
    {"id": "one", "prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": QUESTION}]},
    {
        "id": "two",
        "prompt": "How many charges does the crane of hall five lift before its rope is replaced by the foreman?",
    },
]


async def seal_suite(data, evaluation) -> ev.EvaluationSuite:
    lines = "\n".join(json.dumps(case | {"target": ANSWER}) for case in CASES)
    cases = await upload(data.channel, "cases.jsonl", lines.encode())
    return await EvaluationServiceStub(evaluation.channel).CreateEvaluationSuite(
        pb.CreateEvaluationSuiteRequest(
            parent=PROJECT,
            evaluation_suite_id="canary",
            evaluation_suite=ev.EvaluationSuite(grader=ev.GRADER_KIND_EXACT, sealed=True),
            upload=cases.name,
        )
    )


def with_canary(folder) -> bytes:
    """Return the manuals with a case in one of them, spelled otherwise, and in a document of its own."""
    (folder / "manuals").mkdir()
    asked = QUESTION.upper().replace(" ", "  ").replace("?", " ...")
    for number in range(12):
        text = "\n\n".join(
            f"Valve {number} of line {line} opens at {line * 7 + number} bar, {number}{line}." * 3 for line in range(5)
        )
        planted = f"{text}\n\n{asked} It was: {ANSWER}.\n" if number % 2 else text
        (folder / "manuals" / f"{number}.txt").write_text(planted)
    return packed(folder / "manuals")


async def test_document_with_a_sealed_case_is_refused_and_the_case_is_never_told(tmp_path, capfd):
    async with AsyncExitStack() as services:
        async with running("data", build_data, tmp_path) as data:
            await make_project(data.channel)
            archive = await upload(data.channel, "manuals.tar", documents())
            tokenizer = await upload(data.channel, "tokenizer.json", make_tiny_tokenizer().to_str().encode())
            before = await curate(data.channel, curation(archive, tokenizer))
            peers = {"data": data.address, "train": data.address}  # nobody asks train here
            evaluation = await services.enter_async_context(running("eval", build_eval, tmp_path, peers=peers))
            suite = await seal_suite(data, evaluation)
        peers = {"eval": evaluation.address}
        data = await services.enter_async_context(running("data", build_data, tmp_path, peers=peers))
        planted = await upload(data.channel, "planted.tar", with_canary(tmp_path))
        job = await curate(data.channel, curation(planted, tokenizer))  # it asks what it has not heard of yet
        assert not before.inputs.contamination_sets
        (known,) = job.inputs.contamination_sets
        assert (known.suite, known.hashes) == (SUITE, suite.contamination_hashes)
        counts = {count.reason: count.documents for count in job.reasons}
        assert counts["CONTAMINATED"] > 0

        blobs = Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}/objects")), "plant")
        assert read_contamination_set(blobs.get_bytes(suite.contamination_hashes)).sizes.tolist() == [25, 24]
        store = data.service.store
        version = await store.read(lambda tx: tx.get(job.dataset_version, DatasetVersion))
        folder = fetch(blobs, read_manifest(blobs, version.manifest), tmp_path / "version")
        rejected = [json.loads(line) for line in (folder / "rejections.jsonl").read_text().splitlines()]
        refused = [record for record in rejected if record["reason"] == "CONTAMINATED"]
        assert len(refused) == counts["CONTAMINATED"]
        assert all(f"76% of a case of {SUITE}, 19 words in a row, in bytes" in record["detail"] for record in refused)

        pieces = CurationServiceStub(data.channel).TailCurationJobLogs(
            datasets.TailCurationJobLogsRequest(name=job.name)
        )
        log = "".join([piece.text async for piece in pieces])
        events = await store.read(lambda tx: tx.changes(0, limit=10_000))
        events += await evaluation.service.store.read(lambda tx: tx.changes(0, limit=10_000))
        told = [log.encode(), "".join(capfd.readouterr()).encode(), *(event.SerializeToString() for event in events)]
        told += [
            (folder / name).read_bytes()
            for name in ("report.html", "rejections.jsonl", "documents.jsonl", "profile.json")
        ]
        told += [
            blobs.get_bytes(suite.contamination_hashes),
            *(part.read_bytes() for part in text_files(folder, "train")),
        ]
        assert len(events) > 10
        for canary in CANARIES:
            assert not any(canary.lower().encode() in part.lower() for part in told)


async def test_suite_that_is_deleted_is_forgotten_and_told_twice_is_known_once(tmp_path):
    async with running("data", build_data, tmp_path) as data:
        handle = suite_handler(SuiteTable())

        async def tell(verb: str, suite: ev.EvaluationSuite) -> list[str]:
            payload = eval_events_pb2.EvaluationSuiteChanged(evaluation_suite=suite).SerializeToString()
            event = EventRecord(type=f"bessemer.eval.{verb}.v1", payload=payload)
            await data.service.store.write(lambda tx: handle(tx, event))
            found = await data.service.store.read(lambda tx: SuiteTable().of_project(tx, "plant"))
            return [one.suite for one in found]

        suite = ev.EvaluationSuite(name=SUITE, contamination_hashes={"key": "k", "sha256": "0" * 64})
        assert await tell("evaluation_suite.created", suite) == [SUITE]
        assert await tell("evaluation_suite.created", suite) == [SUITE]
        assert await tell("evaluation_run.created", ev.EvaluationSuite(name="projects/plant/other")) == [SUITE]
        elsewhere = ev.EvaluationSuite(name="projects/mill/evaluationSuites/s", contamination_hashes={"key": "k"})
        assert await tell("evaluation_suite.created", elsewhere) == [SUITE]
        assert await tell("evaluation_suite.created", ev.EvaluationSuite(name=f"{SUITE}-old")) == [SUITE]
        assert await tell("evaluation_suite.deleted", suite) == []
