"""Documents in, an owned and served model out: the real servers, a tiny model."""

from __future__ import annotations

import itertools
import tarfile

import pytest
from bessemer.api.data.v1 import dataset_pb2
from bessemer.api.eval.v1 import evaluation_pb2
from bessemer.api.serve.v1 import deployment_pb2
from bessemer.cli.deployment import await_deployment
from bessemer.kernel.errors import FailedPrecondition, NotFound
from bessemer.sdk import Client
from bessemer.sdk.archive import list_files, pack_files

PROJECT = "projects/tiny"
RECIPE = {"steps": 12, "tokens_per_step": 512, "sequence_length": 128, "checkpoint_every_steps": 4, "threads": 2}


@pytest.fixture(params=["embedded", "clustered"])
def running(request):
    return request.getfixturevalue(request.param)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_lifecycle_from_documents_ends_with_a_served_model(running, documents, tiny_model_archive, tmp_path):
    with running.client() as client:
        client.data.create_project(project_id="tiny", project={"display_name": "Tiny"})
        base = import_model(client, tiny_model_archive)
        text, chat, preference = curate(client, documents, base, tmp_path)
        suites = seal_suites(client, text, chat)
        baseline = evaluate(client, base.name, suites)

        cpt = train(client, "cpt", base.name, text.name, learning_rate=3e-3)
        sft = train(client, "sft", cpt.model_version, chat.name, learning_rate=1e-3)
        dpo = train(client, "dpo", sft.model_version, preference.name, learning_rate=1e-4)
        points = client.train.query_metrics(name=cpt.name, keys=["train/loss"]).points
        assert len(points) == RECIPE["steps"]
        assert points[-1].value < points[0].value
        assert client.train.list_checkpoints(parent=cpt.name).checkpoints

        candidate = evaluate(client, dpo.model_version, suites)
        decision = client.eval.decide_gate(
            parent=PROJECT,
            baseline_run=baseline.name,
            candidate_run=candidate.name,
            rules=[{"suite": suites[0], "min_difference": 0.2, "blocking": True}],
        )
        assert decision.verdict == evaluation_pb2.VERDICT_PASS
        serve_and_talk(running, client, base, dpo.model_version, decision.name)
        lineage = client.data.get_lineage(name=dpo.model_version, direction="LINEAGE_DIRECTION_UPSTREAM")
        assert {text.name, chat.name, preference.name, base.name} <= {node.name for node in lineage.nodes}
        export_and_load(client, dpo.model_version, tmp_path)


def import_model(client: Client, archive):
    upload = client.upload(PROJECT, archive)
    task = {"model": f"{PROJECT}/models/base", "upload": upload.name, "license": "Apache-2.0"}
    job = client.train.create_model_job(parent=PROJECT, model_job={"import": task})
    return client.train.get_model_version(name=client.wait(job.name).model_version)


def curate(client: Client, documents, base, tmp_path):
    files = [(str(path.relative_to(documents)), path) for path in list_files(documents)]
    upload = client.upload(PROJECT, pack_files(files, tmp_path / "documents.tar"))
    versions = []
    for kind in ("TEXT", "CHAT", "PREFERENCE"):
        dataset = f"{PROJECT}/datasets/{kind.lower()}"
        client.data.create_dataset(parent=PROJECT, dataset_id=kind.lower(), dataset={"kind": f"DATASET_KIND_{kind}"})
        recipe = {"kind": f"DATASET_KIND_{kind}", "sequence_length": 128, "heldout_fraction": 0.2, "rows_max": 300}
        if kind != "TEXT":
            del recipe["sequence_length"]
        job = {"dataset": dataset, "recipe": recipe}
        if kind == "TEXT":
            job |= {"uploads": [upload.name], "tokenizer": base.tokenizer}
        else:
            job |= {"source_version": versions[0].name}
        done = client.wait(client.data.create_curation_job(parent=PROJECT, curation_job=job).name)
        versions.append(client.data.get_dataset_version(name=done.dataset_version))
    assert versions[0].kind == dataset_pb2.DATASET_KIND_TEXT
    assert {split.split for split in versions[0].splits} == {"train", "heldout"}
    assert client.data.preview_dataset_version(name=versions[1].name, rows=3).rows
    assert client.data.profile_dataset_version(name=versions[0].name).histograms
    return versions


def seal_suites(client: Client, text, chat) -> list[str]:
    perplexity = {"grader": "GRADER_KIND_PERPLEXITY", "dataset_version": text.name}
    exact = {"grader": "GRADER_KIND_EXACT", "dataset_version": chat.name, "max_tokens": 8}
    general = {"grader": "GRADER_KIND_PERPLEXITY"}
    sealed = [
        client.eval.create_evaluation_suite(
            parent=PROJECT, evaluation_suite_id="text", evaluation_suite=perplexity, heldout_text=True
        ),
        client.eval.create_evaluation_suite(
            parent=PROJECT, evaluation_suite_id="questions", evaluation_suite=exact, heldout_questions=True
        ),
        client.eval.create_evaluation_suite(
            parent=PROJECT, evaluation_suite_id="general", evaluation_suite=general, builtin="general-knowledge"
        ),
    ]
    return [suite.name for suite in sealed]


def evaluate(client: Client, model_version: str, suites: list[str]):
    job = client.eval.create_evaluation_run(
        parent=PROJECT, evaluation_run={"model_version": model_version, "suites": suites}
    )
    return client.wait(job.name)


def train(client: Client, method: str, base: str, data: str, *, learning_rate: float):
    job = client.train.create_training_job(
        parent=PROJECT,
        training_job={
            "base_model_version": base,
            "dataset_versions": [data],
            "model": f"{PROJECT}/models/assistant",
            "recipe": {**RECIPE, method: {}, "learning_rate": learning_rate},
        },
    )
    return client.wait(job.name)


def serve_and_talk(running, client: Client, base, model_version: str, decision: str) -> None:
    client.serve.create_endpoint(parent=PROJECT, endpoint_id="assistant", endpoint={"display_name": "Assistant"})
    endpoint = f"{PROJECT}/endpoints/assistant"
    with pytest.raises(FailedPrecondition) as refused:
        client.serve.deploy_model_version(endpoint=endpoint, model_version=model_version)
    assert refused.value.reason == "GATE_NOT_PASSED"
    with pytest.raises((FailedPrecondition, NotFound)):
        client.serve.deploy_model_version(endpoint=endpoint, model_version=base.name, gate_decision=decision)
    made = client.serve.deploy_model_version(endpoint=endpoint, model_version=model_version, gate_decision=decision)
    assert await_deployment(client, made.name).state == deployment_pb2.DEPLOYMENT_STATE_READY

    messages = [{"role": "user", "content": "Which licence does it have?"}]
    answer = client.chat(endpoint, messages, temperature=0.0, max_tokens=12)
    pieces = list(
        client.serve.stream_generate(
            target=endpoint, prompt={"messages": messages}, sampling={"temperature": 0.0, "max_tokens": 12}
        )
    )
    assert "".join(piece.text_delta for piece in pieces) == answer.text
    talk_with_openai(client, endpoint, messages, answer.text)
    record = {"response_id": answer.response_id, "rating": "RATING_UP"}
    client.data.submit_feedback(parent=PROJECT, feedback=record)
    assert len(list(client.pages(client.data.list_feedback, parent=PROJECT))) == 1


def talk_with_openai(client: Client, endpoint: str, messages, expected: str) -> None:
    from openai import OpenAI

    door = OpenAI(base_url=client.connection.http["serve"] + "/v1", api_key=client.connection.token, max_retries=0)
    assert any(model.id.endswith("assistant") for model in door.models.list())
    chat = door.chat.completions.create(model=endpoint, messages=messages, temperature=0, max_tokens=12)
    assert chat.choices[0].message.content == expected
    stream = door.chat.completions.create(model=endpoint, messages=messages, temperature=0, max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == expected


def export_and_load(client: Client, model_version: str, tmp_path) -> None:
    job = client.train.create_model_job(
        parent=PROJECT, model_job={"export": {"model_version": model_version, "format": "safetensors"}}
    )
    archive = client.download(client.wait(job.name).archive, tmp_path / "model.tar")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "exported", filter="data")
    from transformers import AutoModelForCausalLM

    folder = next(path.parent for path in (tmp_path / "exported").rglob("config.json"))
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert sum(p.numel() for p in loaded.parameters()) > 0
    ids = list(itertools.islice(range(5, 100), 8))
    assert loaded.generate(__import__("torch").tensor([ids]), max_new_tokens=2, do_sample=False).shape[1] == 10
