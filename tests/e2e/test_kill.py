"""Kill -9 anything at two points of the work, repair with `up`, and get the same digests."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bessemer.api.data.v1 import dataset_pb2
from bessemer.api.eval.v1 import evaluation_pb2
from bessemer.api.eval.v1.gate_policy_pb2 import GateWaiver
from bessemer.api.train.v1 import model_pb2, training_job_pb2
from bessemer.cli.data import Kind, ensure_dataset, ensure_project
from bessemer.cli.demo.steps import ensure, patiently, run_job
from bessemer.cli.deployment import await_deployment, ensure_endpoint
from bessemer.cli.gate_policy import expiry
from bessemer.cli.settings import Output, Settings
from bessemer.local import processes, stack
from bessemer.local.plan import S3Keys, StackOptions
from bessemer.local.servers import free_ports, start_seaweedfs
from bessemer.sdk import Client

# Who is killed, and at which two points of the work.
VICTIMS = {
    "nats": ("curating", "training"),
    "data": ("curating", "training"),
    "train": ("curating", "training"),
    "worker": ("curating", "training"),
    "eval": ("evaluating", "deploying"),
    "serve": ("evaluating", "deploying"),
    "objects": ("curating", "training"),
}
DELAYS_S = {"curating": 1.0, "training": 4.0, "evaluating": 3.0, "deploying": 0.5}
QUESTION = [{"role": "user", "content": "Which licence does it have?"}]


@dataclass
class Outcome:
    digests: dict[str, str] = field(default_factory=dict)
    error: BaseException | None = None


class ObjectServer:
    """An S3 server that is no part of the stack: whoever runs it starts it again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, free_ports(8)
        self.keys = S3Keys(access_key="tests", secret_key="tests-secret")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> StackOptions:
        return StackOptions(s3_url=f"s3+http://127.0.0.1:{self.ports[0]}/bessemer")

    def start(self) -> None:
        keys = {"access_key": self.keys.access_key, "secret_key": self.keys.secret_key}
        self.process = start_seaweedfs(self.folder, self.ports, log=self.folder / "weed.log", **keys)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)


def settings_for(home: Path) -> Settings:
    return Settings(home=home, project_id="kill", output=Output.JSON)


def work(
    home: Path, documents_tar: Path, model_tar: Path, reached: dict[str, threading.Event], outcome: Outcome
) -> None:
    """Import, curate, train; every step survives restarts of what it talks to."""
    settings = settings_for(home)
    try:
        with Client.connect(home) as client:
            patiently(lambda: ensure_project(client, settings))
            upload = patiently(lambda: client.upload(settings.project, model_tar))
            task = model_pb2.ImportTask(model=settings.name("models", "base"), upload=upload.name)
            imported = run_job(
                client, settings, "modelJobs", model_pb2.ModelJob(**{"import": task}), title="import", content="model"
            )
            base = patiently(lambda: client.train.get_model_version(name=imported.model_version))
            patiently(lambda: ensure_dataset(client, settings, "text", Kind.TEXT))
            documents = patiently(lambda: client.upload(settings.project, documents_tar))
            job = dataset_pb2.CurationJob(dataset=settings.name("datasets", "text"), uploads=[documents.name])
            job.recipe.kind = dataset_pb2.DATASET_KIND_TEXT
            job.recipe.sequence_length = 128
            job.tokenizer.CopyFrom(base.tokenizer)
            reached["curating"].set()
            curated = run_job(client, settings, "curationJobs", job, title="curate", content="documents")
            version = patiently(lambda: client.data.get_dataset_version(name=curated.dataset_version))
            recipe = training_job_pb2.TrainingRecipe(
                cpt={}, steps=120, tokens_per_step=512, sequence_length=128, checkpoint_every_steps=20, threads=1
            )
            training = training_job_pb2.TrainingJob(
                base_model_version=base.name,
                dataset_versions=[version.name],
                model=settings.name("models", "trained"),
                recipe=recipe,
            )
            reached["training"].set()
            trained = run_job(client, settings, "trainingJobs", training, title="train", content="")
            model = patiently(lambda: client.train.get_model_version(name=trained.model_version))
            answer = evaluate_and_serve(client, settings, model.name, reached)
            outcome.digests = {"dataset": version.manifest.sha256, "model": model.manifest.sha256, "answer": answer}
    except BaseException as error:  # noqa: BLE001 - the test reports it from its own thread
        outcome.error = error


def evaluate_and_serve(client: Client, settings: Settings, model: str, reached: dict[str, threading.Event]) -> str:
    """Return what the suite's score and the served model say."""
    suite = ensure(
        lambda: client.eval.get_evaluation_suite(name=settings.name("evaluationSuites", "choice")),
        lambda: client.eval.create_evaluation_suite(
            parent=settings.project,
            evaluation_suite_id="choice",
            evaluation_suite={"grader": evaluation_pb2.GRADER_KIND_CHOICE},
            builtin="general-choice",
        ),
    )
    run = evaluation_pb2.EvaluationRun(model_version=model, suites=[suite.name])
    reached["evaluating"].set()
    score = run_job(client, settings, "evaluationRuns", run, title="evaluate", content="").results[0].score
    patiently(lambda: ensure_endpoint(client, settings, "killed"))
    endpoint = settings.name("endpoints", "killed")
    reached["deploying"].set()
    waiver = GateWaiver(model_version=model, reason="a test of restarts", expire_time=expiry(1))
    waived = ensure(
        lambda: client.eval.get_gate_waiver(name=settings.name("gateWaivers", "restarts")),
        lambda: client.eval.create_gate_waiver(parent=settings.project, gate_waiver_id="restarts", gate_waiver=waiver),
    )
    deployment = ensure(
        lambda: client.serve.get_deployment(name=f"{endpoint}/deployments/one"),
        lambda: client.serve.deploy_model_version(
            endpoint=endpoint, deployment_id="one", model_version=model, gate_waiver=waived.name
        ),
    )
    patiently(lambda: await_deployment(client, deployment.name))
    answer = patiently(lambda: client.chat(endpoint, QUESTION, temperature=0.0, max_tokens=8))
    return f"{score:.6f} {answer.text}"


def kill(home: Path, victim: str) -> bool:
    """Kill one process of the stack with SIGKILL; a worker is waited for, since it lives only while a job runs."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pattern = "workers/**/*.json" if victim == "worker" else f"{victim}.json"
        for record in sorted((home / "run").glob(pattern)):
            if running := processes.find(record):
                os.kill(running.pid, signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def kill_and_repair(home: Path, victim: str, point: str, store: ObjectServer | None) -> None:
    if store is not None:
        store.kill()
        store.start()
    else:
        assert kill(home, victim), f"no {victim} to kill while {point}"
    stack.up(home)


def run_with_kills(home: Path, victim: str | None, documents_tar: Path, model_tar: Path) -> Outcome:
    store = ObjectServer(home.parent / "s3") if victim == "objects" else None
    if store is not None:
        store.start()
        stack.up(home, store.options, store.keys)
    else:
        stack.up(home)
    reached = {point: threading.Event() for point in DELAYS_S}
    outcome = Outcome()
    thread = threading.Thread(target=work, args=(home, documents_tar, model_tar, reached, outcome))
    try:
        thread.start()
        for point in VICTIMS[victim] if victim else ():
            assert reached[point].wait(180), outcome.error
            time.sleep(DELAYS_S[point])
            kill_and_repair(home, victim, point, store)
        thread.join(240)
        assert not thread.is_alive(), "the work did not end"
        assert outcome.error is None, outcome.error
    finally:
        stack.down(home)
        thread.join(10)
        if store is not None:
            store.kill()
    return outcome


@pytest.fixture(scope="module")
def inputs(documents, tiny_model_archive, tmp_path_factory):
    from bessemer.sdk.archive import list_files, pack_files

    files = [(str(path.relative_to(documents)), path) for path in list_files(documents)]
    return pack_files(files, tmp_path_factory.mktemp("inputs") / "documents.tar"), tiny_model_archive


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory) -> dict[str, str]:
    return run_with_kills(tmp_path_factory.mktemp("calm") / "home", None, *inputs).digests


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("victim", VICTIMS)
def test_kill_at_two_points_ends_with_the_same_digests(victim, inputs, undisturbed, tmp_path):
    assert run_with_kills(tmp_path / "home", victim, *inputs).digests == undisturbed
