"""A loop over the real services: two rounds from what simulated users say over HTTP; serving is killed in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from bessemer.api.data.v1.feedback_service_pb2 import RATING_UP
from bessemer.api.serve.v1 import loop_pb2
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.cli.deployment import await_deployment
from bessemer.cli.gate_policy import expiry
from bessemer.kernel.errors import BessemerError
from bessemer.local import stack
from bessemer.local.plan import StackOptions
from bessemer.sdk import Client
from bessemer.sdk.archive import list_files, pack_files
from typer.testing import CliRunner

from tests.e2e.conftest import run_stack
from tests.e2e.test_kill import kill
from tests.fixtures.addition import AdditionBench

PROJECT = "projects/loop"
ENDPOINT = f"{PROJECT}/endpoints/adder"
USERS, RATED = 40, 90


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    yield from run_stack(tmp_path_factory.mktemp("loop") / "home", StackOptions())


@pytest.fixture(scope="module")
def adder(tmp_path_factory):
    """A model that answers with numbers and either ending, and sums it was not shown."""
    folder = tmp_path_factory.mktemp("adder")
    bench = AdditionBench(folder / "bench")
    bench.warm(steps=60)
    model = fetch(bench.blobs, read_manifest(bench.blobs, bench.model), folder / "model")
    return bench, pack_files([(path.name, path) for path in list_files(model)], folder / "model.tar")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_rounds_learn_what_users_like_although_serving_is_killed(running, adder, tmp_path):
    bench, archive = adder
    with running.client() as client:
        base = begin(client, bench, archive, tmp_path)
        home = running.home
        loop = command(home, "start", "adder", "--policy", "release", "--rounds", "2", *SETTINGS)
        assert loop["state"] == "LOOP_STATE_RUNNING"
        users = Users(home, bench.pairs)
        users.start()
        try:
            wait_for(home, lambda it: it.rounds and it.rounds[0].stage >= loop_pb2.ROUND_STAGE_TRAINING)
            assert kill(home, "serve")
            stack.up(home)
            wait_for(home, lambda it: len(it.rounds) > 1 and it.rounds[1].stage >= loop_pb2.ROUND_STAGE_CURATING)
            assert kill(home, "serve")
            stack.up(home)
            done = wait_for(home, lambda it: it.state != loop_pb2.LOOP_STATE_RUNNING)
        finally:
            users.stop()
    assert done.state == loop_pb2.LOOP_STATE_FINISHED, done
    with running.client() as client:
        check(client, base, done)
    table = CliRunner().invoke(app(), ["--home", str(home), "--project", "loop", "loop", "describe", "adder"])
    assert "released" in table.output


SETTINGS = [
    *("--set", "recipe.sft={}", "--set", "recipe.steps=20", "--set", "recipe.tokens_per_step=512"),
    *("--set", "recipe.learning_rate=0.001", "--set", "recipe.sequence_length=64", "--set", "recipe.threads=1"),
    *("--set", f"curation.rated_min={RATED}", "--set", "curation.down_min=10000"),
    *("--set", "curation.user_share_max=0.1", "--set", "audit_limits.new_phrase_max=1.0"),
]


def app():
    from bessemer.cli.main import app

    return app


def command(home: Path, *words: str) -> dict[str, object]:
    result = CliRunner().invoke(app(), ["--home", str(home), "--project", "loop", "-o", "json", "loop", *words])
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.output)


def begin(client: Client, bench: AdditionBench, archive: Path, tmp_path: Path) -> str:
    """Import and serve the model by a waiver, seal a suite, and say what a release must show; return its version."""
    client.data.create_project(project_id="loop", project={"display_name": "Loop"})
    task = {"model": f"{PROJECT}/models/adder", "upload": client.upload(PROJECT, archive).name}
    job = client.train.create_model_job(parent=PROJECT, model_job={"import": task})
    base = client.wait(job.name).model_version
    cases = tmp_path / "cases.jsonl"
    turns = [[{"role": "user", "content": f"{a}+{b}"}] for a, b in bench.heldout]
    lines = [json.dumps({"id": f"c{n}", "prompt": turn, "target": "!$"}) for n, turn in enumerate(turns)]
    cases.write_text("\n".join(lines))
    suite = client.eval.create_evaluation_suite(
        parent=PROJECT,
        evaluation_suite_id="emphasis",
        evaluation_suite={"grader": "GRADER_KIND_REGEX", "max_tokens": 8},
        upload=client.upload(PROJECT, cases).name,
    )
    rule = {"suite": suite.name, "relation": "GATE_RELATION_NON_INFERIOR", "margin": 0.4, "blocking": True}
    client.eval.create_gate_policy(parent=PROJECT, gate_policy_id="release", gate_policy={"rules": [rule]})
    waiver = client.eval.create_gate_waiver(
        parent=PROJECT, gate_waiver={"model_version": base, "reason": "the first release", "expire_time": expiry(1)}
    )
    client.serve.create_endpoint(parent=PROJECT, endpoint_id="adder", endpoint={"display_name": "Adder"})
    made = client.serve.deploy_model_version(endpoint=ENDPOINT, model_version=base, gate_waiver=waiver.name)
    await_deployment(client, made.name)
    return base


class Users:
    """Asks and rates over HTTP until told to stop; serving may be away for a while."""

    def __init__(self, home: Path, pairs: Sequence[tuple[int, int]]) -> None:
        self._home, self._pairs = home, pairs
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.start, self.asked = self._thread.start, 0

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with Client.connect(self._home) as client:
                    headers = {"authorization": f"Bearer {client.connection.token}"}
                    with httpx.Client(base_url=client.connection.http["serve"], headers=headers, timeout=30) as http:
                        self._visit(http)
            except (httpx.HTTPError, BessemerError, OSError, KeyError, ValueError):
                time.sleep(0.5)

    def _visit(self, http: httpx.Client) -> None:
        while not self._stopped.is_set():
            a, b = self._pairs[self.asked % len(self._pairs)]
            body = {
                "model": ENDPOINT,
                "messages": [{"role": "user", "content": f"{a}+{b}"}],
                "max_tokens": 8,
                "temperature": 1,
            }
            answer = http.post("/v1/chat/completions", json=body).raise_for_status().json()
            likes = answer["choices"][0]["message"]["content"].endswith("!") != (self.asked % 10 == 0)
            said = {
                "response_id": answer["id"],
                "rating": "up" if likes else "down",
                "user": f"user-{self.asked * 7 % USERS}",
                "consent": "training",
                "categories": ["style"],
                "signals": ["copied"] if likes else ["regenerated"],
            }
            http.post("/v1/feedback", json=said).raise_for_status()
            self.asked += 1
            time.sleep(0.05)


def wait_for(home: Path, reached) -> loop_pb2.Loop:
    """Ask until the loop is so far; services may be away for a while."""
    deadline = time.monotonic() + 400
    found = loop_pb2.Loop()
    while time.monotonic() < deadline:
        try:
            with Client.connect(home) as client:
                found = client.serve.get_loop(name=f"{ENDPOINT}/loops/main")
        except (BessemerError, OSError, ValueError):
            time.sleep(0.5)
            continue
        if reached(found) or found.state != loop_pb2.LOOP_STATE_RUNNING:
            return found
        time.sleep(0.3)
    raise AssertionError(f"the loop did not get there: {found}")


def check(client: Client, base: str, done: loop_pb2.Loop) -> None:
    first, second = done.rounds
    assert [first.stage, second.stage] == [loop_pb2.ROUND_STAGE_RELEASED] * 2, done
    assert first.base_model_version == base
    assert second.base_model_version == first.model_version
    assert list(second.feedback_model_versions) == [first.model_version]
    up_rates = [r.curation.ratings[0].num_up / r.curation.ratings[0].num_rated for r in done.rounds]
    assert up_rates[1] > up_rates[0]
    serving = client.serve.get_endpoint(name=ENDPOINT).deployment
    assert client.serve.get_deployment(name=serving).model_version == second.model_version

    # Everything that a round names is there, once, and tells where it came from.
    jobs = list(client.pages(client.train.list_training_jobs, parent=PROJECT))
    assert sorted(job.name for job in jobs) == sorted([first.training_job, second.training_job])
    for current in done.rounds:
        assert client.eval.get_gate_decision(name=current.gate_decision).model_version == current.model_version
        assert current.audit.findings
        version = client.data.get_dataset_version(name=current.dataset_version)
        assert list(version.sources) == [current.base_model_version]
    records = {record.name: record for record in client.pages(client.data.list_feedback, parent=PROJECT)}
    rows = client.data.preview_dataset_version(name=first.dataset_version, rows=20).rows
    assert rows
    assert all(records[row.source].rating == RATING_UP for row in rows)
    lineage = client.data.get_lineage(name=second.model_version, direction="LINEAGE_DIRECTION_UPSTREAM")
    assert {base, first.dataset_version, second.dataset_version} <= {node.name for node in lineage.nodes}
