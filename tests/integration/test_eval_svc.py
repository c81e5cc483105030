"""eval_svc over real gRPC with real neighbours, SQLite, files and worker processes; the model is tiny."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading

import grpc
import httpx
import pytest
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import artifact_service_pb2 as artifacts
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.data.v1.project_service_pb2 import CreateProjectRequest
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
from bessemer.api.eval.v1 import evaluation_pb2 as ev
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from bessemer.api.train.v1.model_pb2 import Model, ModelVersion
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.artifacts.texts import part_path
from bessemer.cli.evaluation_contamination import contamination_html
from bessemer.cli.evaluation_report import comparison_html
from bessemer.kernel.errors import BessemerError
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.status import from_rpc_error
from data_svc.wiring import build as build_data
from eval_svc.wiring import build as build_eval
from train_svc.wiring import build as build_train

from tests.fixtures.judge import Server
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_model

PROJECT = "projects/plant"
MODEL = f"{PROJECT}/models/tiny"
DATASET = f"{PROJECT}/datasets/manuals/versions"


class Plant:
    """Three services and what lies in them."""

    def __init__(self, data, train, service, blobs):
        self.data, self.train, self.service, self.blobs = data, train, service, blobs
        self.stub = EvaluationServiceStub(service.channel)

    async def upload(self, content: bytes) -> str:
        stub = ArtifactServiceStub(self.data.channel)
        upload = await stub.CreateUpload(
            artifacts.CreateUploadRequest(
                parent=PROJECT,
                file_name="cases.jsonl",
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=len(content),
            )
        )
        async with httpx.AsyncClient(timeout=10) as http:
            answer = await http.put(upload.url, content=content, headers=dict(upload.headers))
        assert answer.status_code == 201
        await stub.CompleteUpload(artifacts.CompleteUploadRequest(name=upload.name))
        return upload.name

    async def suite(self, name, *, max_tokens=0, grader=0, sealed=False, version="", options=None, **source):
        return await self.stub.CreateEvaluationSuite(
            pb.CreateEvaluationSuiteRequest(
                parent=PROJECT,
                evaluation_suite_id=name,
                evaluation_suite=ev.EvaluationSuite(
                    grader=grader, max_tokens=max_tokens, sealed=sealed, dataset_version=version, options=options
                ),
                **source,
            )
        )

    async def model(self, folder, version) -> str:
        files = tuple(
            FileEntry.of(path.name, self.blobs.put_file(path, "application/octet-stream"))
            for path in sorted(folder.iterdir())
        )
        manifest = write_manifest(self.blobs, Manifest("model", files, {}))
        name = f"{MODEL}/versions/{version}"
        store = self.train.service.store
        if version == "v1":
            model = Model(name=MODEL, aliases={"champion": name})
            await store.write(lambda tx: tx.put(model, verb="created"))
        await store.write(lambda tx: tx.put(ModelVersion(name=name, manifest=manifest), verb="created"))
        return name

    async def dataset(self, version, files) -> str:
        entries = tuple(
            FileEntry.of(
                path, self.blobs.put_bytes("".join(json.dumps(r) + "\n" for r in records).encode(), "application/jsonl")
            )
            for path, records in files.items()
        )
        manifest = write_manifest(self.blobs, Manifest("dataset", entries, {}))
        name = f"{DATASET}/{version}"
        await self.data.service.store.write(
            lambda tx: tx.put(DatasetVersion(name=name, manifest=manifest), verb="created")
        )
        return name

    async def start(self, model, suites, **fields):
        return await self.stub.CreateEvaluationRun(
            pb.CreateEvaluationRunRequest(
                parent=PROJECT, evaluation_run=ev.EvaluationRun(model_version=model, suites=suites), **fields
            )
        )

    async def finished(self, name):
        async with asyncio.timeout(120):
            async for step in self.stub.WatchEvaluationRun(pb.WatchEvaluationRunRequest(name=name)):
                if step.HasField("evaluation_run"):
                    last = step.evaluation_run
        return last

    async def logs(self, name):
        pieces = self.stub.TailEvaluationRunLogs(pb.TailEvaluationRunLogsRequest(name=name))
        return "".join([piece.text async for piece in pieces])


@pytest.fixture
async def plant(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data,
        running("train", build_train, tmp_path, peers={"data": data.address}) as train,
        running("eval", build_eval, tmp_path, peers={"data": data.address, "train": train.address}) as service,
    ):
        await ProjectServiceStub(data.channel).CreateProject(CreateProjectRequest(project_id="plant"))
        blobs = Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}/objects")), "plant")
        yield Plant(data, train, service, blobs)


async def refused(call) -> BessemerError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def lines(records) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()


async def test_suite_of_every_source_is_sealed_under_its_digest(plant):
    texts = [{"id": f"d{i}", "source": f"{i}.md", "text": "the furnace is hot " * 40} for i in range(12)]
    asked = [
        {
            "id": f"q{i}",
            "prompt": [{"role": "user", "content": f"Which grade has heat {i}?"}],
            "target": f"S{i}",
            "cluster": f"d{i}",
            "attribute": "grade",
        }
        | ({"choices": [f"S{i}", "none"]} if i % 2 else {})
        for i in range(30)
    ]
    parts = {part_path("heldout", 0): texts[:7], part_path("heldout", 30): texts[7:]}
    version = await plant.dataset("v1", {**parts, "heldout/questions.jsonl": asked})
    pattern = await plant.upload(lines([{"id": "a", "prompt": "?", "target": "."}]))
    uploaded = await plant.suite("uploaded", grader=ev.GRADER_KIND_REGEX, upload=pattern)
    general = await plant.suite("general", builtin="general-knowledge")
    text = await plant.suite("text", heldout_text=True, version=version)
    exact = await plant.suite("exact", heldout_questions=True, version=version, num_cases_max=20)
    choice = await plant.suite("choice", grader=ev.GRADER_KIND_CHOICE, heldout_questions=True, version=version)
    contains = await plant.suite("contains", grader=ev.GRADER_KIND_REGEX, heldout_questions=True, version=version)
    assert (uploaded.num_cases, uploaded.max_tokens, uploaded.higher_is_better) == (1, 64, True)
    assert (general.num_cases, general.grader, general.higher_is_better) == (210, ev.GRADER_KIND_PERPLEXITY, False)
    assert (text.num_cases, text.mde, text.dataset_version) == (12, 0.0, version)
    assert (exact.num_cases, choice.num_cases) == (20, 15)
    assert exact.mde == pytest.approx(0.3315, abs=0.001)
    assert b"(?<!" in plant.blobs.get_bytes(contains.cases)
    assert hashlib.sha256(plant.blobs.get_bytes(text.cases)).hexdigest() == text.cases.sha256
    listed = await plant.stub.ListEvaluationSuites(pb.ListEvaluationSuitesRequest(parent=PROJECT, page_size=4))
    assert [s.name.rsplit("/", 1)[-1] for s in listed.evaluation_suites] == ["uploaded", "general", "text", "exact"]
    assert await plant.stub.GetEvaluationSuite(pb.GetEvaluationSuiteRequest(name=text.name)) == text


async def test_suite_that_makes_no_sense_is_refused_with_the_reason(plant):
    bad = await plant.upload(lines([{"id": "a", "text": "fine"}, {"id": "b"}]))
    error = await refused(plant.suite("s", grader=ev.GRADER_KIND_PERPLEXITY, upload=bad))
    assert "line 2" in error.message
    assert error.fields["field"] == "cases.text"
    error = await refused(plant.suite("s", upload=bad))
    assert error.fields["field"] == "evaluation_suite.grader"
    error = await refused(plant.suite("s", builtin="nothing"))
    assert "general-knowledge" in error.message
    error = await refused(plant.suite("s", builtin="general-choice", grader=ev.GRADER_KIND_EXACT))
    assert "CHOICE" in error.message
    error = await refused(plant.suite("s", heldout_text=True))
    assert error.fields["field"] == "evaluation_suite.dataset_version"
    error = await refused(plant.suite("s", heldout_questions=True, version=await plant.dataset("v1", {})))
    assert error.code == "FAILED_PRECONDITION"
    error = await refused(plant.suite("s", heldout_text=True, version=f"{DATASET}/v9"))
    assert error.code == "NOT_FOUND"


async def test_two_models_are_run_compared_and_gated(plant, tmp_path):
    baseline = await plant.model(make_tiny_model(tmp_path / "a", seed=0), "v1")
    candidate = await plant.model(make_tiny_model(tmp_path / "b", seed=1), "v2")
    texts = await plant.suite("texts", builtin="general-knowledge")
    choice = await plant.suite("choice", builtin="general-choice", sealed=True)
    other = await plant.suite("other", builtin="general-choice")
    before = await plant.start(f"{MODEL}/versions/@champion", [texts.name, choice.name])
    assert before.model_version == baseline
    after = await plant.start(candidate, [choice.name, texts.name, other.name], evaluation_run_id="after")
    error = await refused(
        plant.stub.CompareRuns(pb.CompareRunsRequest(baseline_run=before.name, candidate_run=after.name))
    )
    assert error.reason == "JOB_STATE_INVALID"
    for run in (before, after):
        ended = await plant.finished(run.name)
        assert ended.status.state == JobState.JOB_STATE_SUCCEEDED, await plant.logs(run.name)
        assert ended.results[0].suite_sha256 in {texts.cases.sha256, choice.cases.sha256}
    listed = await plant.stub.ListEvaluationRuns(pb.ListEvaluationRunsRequest(parent=PROJECT))
    assert [run.name for run in listed.evaluation_runs] == [before.name, after.name]

    compared = await plant.stub.CompareRuns(pb.CompareRunsRequest(baseline_run=before.name, candidate_run=after.name))
    found = {one.suite: one for one in compared.suites}
    assert set(found) == {texts.name, choice.name}
    one = found[texts.name]
    assert one.difference == pytest.approx(one.candidate / one.baseline - 1)
    assert one.interval.low < one.difference < one.interval.high
    assert (one.num_pairs, one.num_clusters, len(one.flips)) == (210, 210, 10)
    assert found[choice.name].num_better + found[choice.name].num_worse > 0
    assert not found[choice.name].flips

    decision = await plant.stub.DecideGate(
        pb.DecideGateRequest(
            parent=PROJECT,
            baseline_run=before.name,
            candidate_run=after.name,
            rules=[
                ev.GateRule(suite=texts.name, min_difference=-0.5, blocking=True),
                ev.GateRule(suite=choice.name, min_difference=0.9),
                ev.GateRule(suite=other.name, min_difference=0.0, blocking=True),
            ],
        )
    )
    verdicts = [rule.verdict for rule in decision.rules]
    assert verdicts == [ev.VERDICT_PASS, ev.VERDICT_FAIL, ev.VERDICT_MISSING]
    assert decision.verdict == ev.VERDICT_INCONCLUSIVE
    assert decision.model_version == candidate
    assert decision.model_sha256 == after.inputs.model_manifest.sha256
    assert "did not run" in decision.rules[2].explanation
    assert await plant.stub.GetGateDecision(pb.GetGateDecisionRequest(name=decision.name)) == decision
    listed = await plant.stub.ListGateDecisions(pb.ListGateDecisionsRequest(parent=PROJECT))
    assert list(listed.gate_decisions) == [decision]
    changes = await plant.service.service.store.read(lambda tx: tx.changes(0, limit=1000, name=decision.name))
    assert [change.type for change in changes] == ["bessemer.eval.gate_decision.created.v1"]

    error = await refused(
        plant.stub.DecideGate(
            pb.DecideGateRequest(
                parent=PROJECT,
                baseline_run=before.name,
                candidate_run=after.name,
                rules=[ev.GateRule(suite=texts.name, min_difference=0.1)],
            )
        )
    )
    assert error.fields["field"] == "rules"


async def test_run_with_unscorable_cases_fails_for_the_user_and_logs_no_case_text(plant, tmp_path):
    model = await plant.model(make_tiny_model(tmp_path / "a"), "v1")
    secret = "Zanzibar"
    cases = [{"id": "a", "text": secret * 3}, {"id": "b", "text": "x"}]
    suite = await plant.suite("s", grader=ev.GRADER_KIND_PERPLEXITY, upload=await plant.upload(lines(cases)))
    ended = await plant.finished((await plant.start(model, [suite.name])).name)
    assert ended.status.state == JobState.JOB_STATE_FAILED
    assert "1 of 2 cases" in ended.status.error.message
    log = await plant.logs(ended.name)
    assert "1 of 2 cases" in log
    assert secret not in log


async def test_run_that_is_cancelled_ends_cancelled(plant, tmp_path):
    model = await plant.model(make_tiny_model(tmp_path / "a"), "v1")
    suite = await plant.suite("s", builtin="general-choice")
    run = await plant.start(model, [suite.name])
    await plant.stub.CancelEvaluationRun(pb.CancelEvaluationRunRequest(name=run.name))
    assert (await plant.finished(run.name)).status.state == JobState.JOB_STATE_CANCELLED
    error = await refused(plant.start(f"{MODEL}/versions/v9", [suite.name]))
    assert error.code == "NOT_FOUND"
    error = await refused(plant.start(model, [suite.name, suite.name]))
    assert error.fields["field"] == "evaluation_run.suites"


CANARY = "Xylokanarienvogel"
SEALED = {
    "numeric": {"prompt": f"{CANARY} 1", "target": f"{CANARY} 4711"},
    "json_schema": {"prompt": f"{CANARY} 2", "target": json.dumps({"const": CANARY})},
    "text_similarity": {"prompt": f"{CANARY} 3", "target": CANARY},
    "python": {"prompt": f"{CANARY} 4", "target": f"assert '{CANARY}' == 1"},
    "regex": {"prompt": f"{CANARY} 5", "target": CANARY},
    "exact": {"prompt": f"{CANARY} 6", "target": CANARY},
    "formula": {"prompt": f"{CANARY} 7", "target": f"{CANARY} 1"},
}


async def test_sealed_suites_of_every_grader_are_run_and_their_text_stays_inside(plant, tmp_path, caplog):
    model = await plant.model(make_tiny_model(tmp_path / "a"), "v1")
    formula = ev.FormulaOptions(
        expression="(a + b) / 2",
        parts=[
            {"id": "a", "grader": ev.GRADER_KIND_NUMERIC},
            {"id": "b", "grader": ev.GRADER_KIND_REGEX, "target": "metal"},
        ],
    )
    names = []
    for name, case in SEALED.items():
        upload = await plant.upload(lines([{"id": f"c{i}", **case} for i in range(3)]))
        kind = ev.GraderKind.Value(f"GRADER_KIND_{name.upper()}")
        options = ev.GraderOptions(formula=formula) if name == "formula" else None
        suite = await plant.suite(name.replace("_", "-"), grader=kind, sealed=True, upload=upload, options=options)
        names.append(suite.name)
    long = [{"id": f"c{i}", "prompt": f"Which of the {i} vessels of {CANARY} holds the most steel?"} for i in range(3)]
    upload = await plant.upload(lines([case | {"target": CANARY} for case in long]))
    names.append((await plant.suite("long", grader=ev.GRADER_KIND_EXACT, sealed=True, upload=upload)).name)
    version = await plant.dataset("v1", {"train/rows.jsonl": [{"text": f"{case['prompt']} {CANARY}"} for case in long]})
    seen = ModelVersion(name=f"{MODEL}/versions/v2", dataset_versions=[version, f"{DATASET}/gone"], parent=model)

    def learn(tx):
        seen.manifest.CopyFrom(tx.get(model, ModelVersion).manifest)
        return tx.put(seen, verb="created")

    await plant.train.service.store.write(learn)
    given = ev.EvaluationRun(model_version=seen.name, suites=names, check_contamination=True)
    run = await plant.stub.CreateEvaluationRun(pb.CreateEvaluationRunRequest(parent=PROJECT, evaluation_run=given))
    ended = await plant.finished(run.name)
    log = await plant.logs(run.name)
    assert ended.status.state == JobState.JOB_STATE_SUCCEEDED, log
    assert [result.num_cases for result in ended.results] == [3] * len(names)
    assert [result.num_contaminated for result in ended.results] == [0] * len(SEALED) + [3]
    assert [result.num_untraceable for result in ended.results] == [3] * len(SEALED) + [0]
    assert [(found.num_cases, list(found.cases)) for found in ended.results[-1].contamination] == [(3, [])]
    assert [data.dataset_version for data in ended.inputs.training_data] == [version]
    assert "gone" in ended.inputs.unknown_training[0]
    assert CANARY not in contamination_html(ended) + comparison_html(
        await plant.stub.CompareRuns(pb.CompareRunsRequest(baseline_run=run.name, candidate_run=run.name))
    )
    for result in ended.results:
        assert CANARY.encode() not in plant.blobs.get_bytes(result.case_results)
    assert CANARY not in log + caplog.text
    assert CANARY not in str(ended)
    changes = await plant.service.service.store.read(lambda tx: tx.changes(0, limit=1000))
    assert len(changes) > len(SEALED)
    assert not [change for change in changes if CANARY.encode() in change.payload]


async def test_refusal_of_a_sealed_case_names_its_line_and_not_its_text(plant):
    for name, target in {"numeric": f"{CANARY}", "json_schema": f"[{CANARY}", "regex": f"(?P={CANARY})"}.items():
        upload = await plant.upload(lines([{"id": "a", "prompt": CANARY, "target": target}]))
        kind = ev.GraderKind.Value(f"GRADER_KIND_{name.upper()}")
        error = await refused(plant.suite("s", grader=kind, sealed=True, upload=upload))
        assert error.fields["field"] == "cases.target"
        assert "line 1" in error.message
        assert CANARY not in error.message + str(error.fields)


async def test_judge_is_the_operators_choice_and_sealed_cases_go_only_to_one_inside(plant, tmp_path):
    model = await plant.model(make_tiny_model(tmp_path / "a"), "v1")
    upload = await plant.upload(lines([{"id": f"c{i}", "prompt": f"Say {i}"} for i in range(3)]))

    def suite(name, judge, *, sealed=False):
        options = ev.GraderOptions(judge=ev.JudgeOptions(judge=judge))
        return plant.suite(name, grader=ev.GRADER_KIND_JUDGE, upload=upload, sealed=sealed, options=options)

    assert "judges.json" in (await refused(suite("s", "house"))).message
    server = Server([(200, '{"score": 0.25}')])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    judges = tmp_path / "judges.json"
    try:
        judge = {"name": "house", "url": server.url, "model": "m"}
        judges.write_text(json.dumps({"judges": [judge]}))
        made = await suite("open", "house")
        assert "not inside" in (await refused(suite("shut", "house", sealed=True))).message
        run = await plant.start(model, [made.name])
        assert [(each.name, each.url) for each in run.inputs.judges] == [("house", server.url)]
        ended = await plant.finished(run.name)
        assert ended.status.state == JobState.JOB_STATE_SUCCEEDED, await plant.logs(run.name)
        assert ended.results[0].score == 0.25
        assert len(server.seen) == 3
        judges.unlink()
        assert "no longer names" in (await refused(plant.start(model, [made.name]))).message
    finally:
        server.shutdown()
        server.server_close()
