"""Mixtures over real gRPC: made and previewed by data_svc, read by training jobs of train_svc."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import tarfile

import grpc
import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1 import (
    dataset_pb2 as data,
)
from bessemer.api.data.v1 import (
    dataset_service_pb2 as datasets,
)
from bessemer.api.data.v1 import (
    lineage_service_pb2 as lineage,
)
from bessemer.api.data.v1 import (
    mixture_service_pb2 as calls,
)
from bessemer.api.data.v1 import (
    project_service_pb2 as projects,
)
from bessemer.api.data.v1.dataset_service_pb2_grpc import DatasetServiceStub
from bessemer.api.data.v1.lineage_service_pb2_grpc import LineageServiceStub
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.data.v1.mixture_service_pb2_grpc import MixtureServiceStub
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
from bessemer.api.train.v1 import (
    mixture_job_pb2 as searches,
)
from bessemer.api.train.v1 import (
    mixture_job_service_pb2 as search_calls,
)
from bessemer.api.train.v1 import (
    model_pb2 as models,
)
from bessemer.api.train.v1 import (
    model_service_pb2 as model_calls,
)
from bessemer.api.train.v1 import (
    training_job_pb2 as training,
)
from bessemer.api.train.v1 import (
    training_service_pb2 as train_calls,
)
from bessemer.api.train.v1.mixture_job_service_pb2_grpc import MixtureJobServiceStub
from bessemer.api.train.v1.model_service_pb2_grpc import ModelServiceStub
from bessemer.api.train.v1.training_service_pb2_grpc import TrainingServiceStub
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.mixture import read_mixture
from bessemer.kernel.errors import BessemerError
from bessemer.svckit.objects_files import FileObjects
from bessemer.svckit.status import from_rpc_error
from data_svc.wiring import build as build_data
from train_svc.wiring import build as build_train

from tests.fixtures import manuals
from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_model

PROJECT = "projects/plant"
MODEL = f"{PROJECT}/models/base"


def ref(text: str) -> ArtifactRef:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ArtifactRef(key=f"{PROJECT}/blobs/sha256/{digest}", sha256=digest, size_bytes=len(text))


def version(name: str, kind: str = "TEXT", *, rows: int = 100, length: int = 64, tokenizer: str = "tokenizer"):
    text = kind == "TEXT"
    return data.DatasetVersion(
        name=name_of(name),
        kind=f"DATASET_KIND_{kind}",
        manifest=ref(name),
        splits=[data.SplitCounts(split="train", rows=rows, tokens=rows * length if text else 0, bytes=rows * 400)],
        sequence_length=length if text else 0,
        tokenizer_sha256=ref(tokenizer).sha256 if text else "",
    )


def name_of(dataset: str) -> str:
    return f"{PROJECT}/datasets/{dataset}/versions/v1"


VERSIONS = [
    version("handbook", rows=300),
    version("tickets"),
    version("scarce", rows=2),
    version("foreign", tokenizer="another tokenizer"),
    version("wide", length=128),
    version("chat", "CHAT"),
    version("empty", rows=0),
]
BASE = models.ModelVersion(
    name=f"{MODEL}/versions/v1", manifest=ref("weights"), tokenizer=ref("tokenizer"), context_length=256
)


@pytest.fixture
async def both(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await ProjectServiceStub(data_svc.channel).CreateProject(projects.CreateProjectRequest(project_id="plant"))
        await put(data_svc, *VERSIONS)
        await put(train_svc, models.Model(name=MODEL), BASE)
        yield data_svc, train_svc


async def put(service, *resources):
    for resource in resources:
        await service.service.store.write(lambda tx, resource=resource: tx.put(resource, verb="created"))


async def refused(call) -> BessemerError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def mixed(*parts: tuple[str, float | None], **fields) -> Mixture:
    components = [{"dataset_version": name_of(name), "weight": weight} for name, weight in parts]
    return Mixture(components=components, **fields)


async def create(service, mixture: Mixture, mixture_id: str = "plant", **fields) -> Mixture:
    request = calls.CreateMixtureRequest(parent=PROJECT, mixture_id=mixture_id, mixture=mixture, **fields)
    return await MixtureServiceStub(service.channel).CreateMixture(request)


def job(mixture: Mixture, **recipe) -> train_calls.CreateTrainingJobRequest:
    wanted = training.TrainingJob(
        base_model_version=BASE.name,
        mixture=mixture.name,
        recipe=training.TrainingRecipe(cpt=training.CptMethod(), **recipe),
        model=f"{PROJECT}/models/own",
    )
    return train_calls.CreateTrainingJobRequest(parent=PROJECT, training_job=wanted)


async def test_mixture_is_made_once_pinned_and_never_changed(both, tmp_path):
    stub = MixtureServiceStub(both[0].channel)
    made = await create(both[0], mixed(("handbook", 7), ("tickets", 3)), request_id="mix-1")
    assert [(c.dataset_version, c.weight, c.manifest, c.tokens) for c in made.components] == [
        (name_of("handbook"), 0.7, ref("handbook"), 300 * 64),
        (name_of("tickets"), 0.3, ref("tickets"), 100 * 64),
    ]
    blobs = Blobs(FileObjects(tmp_path / "objects"), "plant")
    assert read_mixture(blobs, made.content).components == made.components
    assert await create(both[0], mixed(("handbook", 7), ("tickets", 3)), request_id="mix-1") == made
    assert (await refused(create(both[0], mixed(("handbook", 1))))).reason == "RESOURCE_EXISTS"
    same = await create(both[0], mixed(("handbook", 0.7), ("tickets", 0.3)), "same")
    assert same.content == made.content
    assert await stub.GetMixture(calls.GetMixtureRequest(name=made.name)) == made
    page = await stub.ListMixtures(calls.ListMixturesRequest(parent=PROJECT, page_size=1))
    rest = await stub.ListMixtures(calls.ListMixturesRequest(parent=PROJECT, page_token=page.next_page_token))
    assert {m.name for m in (*page.mixtures, *rest.mixtures)} == {made.name, same.name}
    graph = await LineageServiceStub(both[0].channel).GetLineage(lineage.GetLineageRequest(name=made.name))
    assert {(e.source, e.target, e.relation) for e in graph.edges} == {
        (name_of("handbook"), made.name, "mixes"),
        (name_of("tickets"), made.name, "mixes"),
    }


async def test_mixture_with_a_mistake_is_refused_with_its_reason(both):
    elsewhere = Mixture(components=[{"dataset_version": "projects/mill/datasets/a/versions/v1"}])
    component = "mixture.components[1]"
    expected = {
        "nothing": (Mixture(), "FIELD_INVALID", "mixture.components"),
        "unknown version": (mixed(("none", 1)), "RESOURCE_NOT_FOUND", ""),
        "weight of zero": (mixed(("handbook", 1), ("tickets", 0)), "FIELD_INVALID", f"{component}.weight"),
        "negative weight": (mixed(("handbook", 1), ("tickets", -1)), "FIELD_INVALID", f"{component}.weight"),
        "no number": (mixed(("handbook", 1), ("tickets", math.nan)), "FIELD_INVALID", f"{component}.weight"),
        "infinite": (mixed(("handbook", 1), ("tickets", math.inf)), "FIELD_INVALID", f"{component}.weight"),
        "weights for some": (mixed(("handbook", 1), ("tickets", None)), "FIELD_INVALID", f"{component}.weight"),
        "twice": (mixed(("handbook", 1), ("handbook", 1)), "FIELD_INVALID", f"{component}.dataset_version"),
        "tokenizers": (mixed(("handbook", 1), ("foreign", 1)), "TOKENIZER_MISMATCH", ""),
        "kinds": (mixed(("handbook", 1), ("chat", 1)), "FIELD_INVALID", f"{component}.dataset_version"),
        "row lengths": (mixed(("handbook", 1), ("wide", 1)), "FIELD_INVALID", f"{component}.dataset_version"),
        "no rows": (mixed(("handbook", 1), ("empty", 1)), "DATASET_EMPTY", ""),
        "another project": (elsewhere, "FIELD_INVALID", "mixture.components[0].dataset_version"),
        "cold": (mixed(("handbook", None), temperature=0), "FIELD_INVALID", "mixture.temperature"),
        "share of zero": (
            mixed(("handbook", None), phases=[{"share": 0, "weights": [1]}]),
            "FIELD_INVALID",
            "mixture.phases[0].share",
        ),
        "too many passes": (
            Mixture(components=[{"dataset_version": name_of("handbook"), "epochs_max": 17}]),
            "FIELD_INVALID",
            "mixture.components[0].epochs_max",
        ),
    }
    stub = MixtureServiceStub(both[0].channel)
    for what, (wrong, reason, field) in expected.items():
        error = await refused(create(both[0], wrong))
        assert (error.reason, error.fields.get("field", "")) == (reason, field), f"{what}: {error.message}"
        asked = calls.PreviewMixtureRequest(parent=PROJECT, mixture=wrong)
        assert (await refused(stub.PreviewMixture(asked))).reason == reason, what
    assert not (await stub.ListMixtures(calls.ListMixturesRequest(parent=PROJECT))).mixtures


async def test_preview_tells_what_a_run_would_read_before_and_after_creation(both):
    stub = MixtureServiceStub(both[0].channel)
    wanted = mixed(("handbook", 0.5), ("scarce", 0.5))
    asked = {"parent": PROJECT, "tokens": 6_400, "rows": 3}
    before = await stub.PreviewMixture(calls.PreviewMixtureRequest(mixture=wanted, **asked))
    scarce = before.components[1]
    assert (scarce.rows, scarce.epochs, scarce.cap) == (8, 4, calls.MixtureCap.MIXTURE_CAP_EPOCHS)
    assert (before.rows, before.tokens, before.tokens_short) == (100, 6_400, 0)
    assert len(before.first_rows) == 3
    made = await create(both[0], wanted)
    assert await stub.PreviewMixture(calls.PreviewMixtureRequest(name=made.name, **asked)) == before
    for neither in ({}, {"name": made.name, "mixture": wanted}):
        error = await refused(stub.PreviewMixture(calls.PreviewMixtureRequest(parent=PROJECT, **neither)))
        assert error.fields["field"] == "name"
    unknown = calls.PreviewMixtureRequest(parent=PROJECT, name=f"{PROJECT}/mixtures/none")
    assert (await refused(stub.PreviewMixture(unknown))).reason == "RESOURCE_NOT_FOUND"


async def test_training_job_pins_the_mixture_and_its_versions(both):
    stub = TrainingServiceStub(both[1].channel)
    made = await create(both[0], mixed(("handbook", 7), ("tickets", 3)))
    queued = await stub.CreateTrainingJob(job(made, steps=3))
    assert queued.inputs.mixture == made.content
    assert list(queued.inputs.dataset_manifests) == [ref("handbook"), ref("tickets")]
    assert list(queued.dataset_versions) == [name_of("handbook"), name_of("tickets")]
    assert (queued.mixture, queued.recipe.sequence_length) == (made.name, 64)
    await stub.CancelTrainingJob(train_calls.CancelTrainingJobRequest(name=queued.name))


async def test_training_job_on_a_mixture_with_a_mistake_is_refused(both):
    stub = TrainingServiceStub(both[1].channel)
    made = await create(both[0], mixed(("handbook", 7), ("tickets", 3)))
    foreign = await create(both[0], mixed(("foreign", None)), "foreign")
    chat = await create(both[0], mixed(("chat", None)), "chat")
    two = job(made)
    two.training_job.dataset_versions.append(name_of("handbook"))
    none = job(made)
    none.training_job.mixture = ""
    expected = {
        "both": (two, "FIELD_INVALID", "training_job.dataset_versions"),
        "neither": (none, "FIELD_INVALID", "training_job.dataset_versions"),
        "unknown": (job(Mixture(name=f"{PROJECT}/mixtures/none")), "RESOURCE_NOT_FOUND", ""),
        "another tokenizer": (job(foreign), "TOKENIZER_MISMATCH", ""),
        "another kind": (job(chat), "FIELD_INVALID", "training_job.mixture"),
        # 300 and 100 rows, each four times at most; a step takes 1024 tokens, 16 rows.
        "more than the caps": (job(made, steps=101), "FIELD_INVALID", "training_job.recipe.steps"),
    }
    for what, (wrong, reason, field) in expected.items():
        error = await refused(stub.CreateTrainingJob(wrong))
        assert (error.reason, error.fields.get("field", "")) == (reason, field), f"{what}: {error.message}"
    most = await stub.CreateTrainingJob(job(made, steps=100))
    await stub.CancelTrainingJob(train_calls.CancelTrainingJobRequest(name=most.name))


def tickets() -> bytes:
    """Return a tar of texts that have nothing in common with the manuals."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, who in enumerate(("Anna", "Bertram", "Clara", "Dietrich", "Emma", "Friedrich")):
            text = "\n\n".join(
                f"On day {day * 3 + number} {who} wrote that printer {number * 11 + day} on floor {day} jams; "
                f"{who[::-1]} changed its drum {day + number} hours later and closed ticket {day * 1000 + number}."
                for day in range(1, 9)
            ).encode()
            entry = tarfile.TarInfo(f"tickets/{who}.txt")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return stream.getvalue()


async def curated(channel, folder) -> list[str]:
    """Curate manuals and tickets with the tokenizer in `folder`; return the names of both versions."""
    text = data.Dataset(kind=data.DatasetKind.DATASET_KIND_TEXT)
    request = datasets.CreateDatasetRequest(parent=PROJECT, dataset_id="tickets", dataset=text)
    await DatasetServiceStub(channel).CreateDataset(request)
    tokenizer = await manuals.upload(channel, "tokenizer.json", (folder / "tokenizer.json").read_bytes())
    names = []
    for dataset, content in (("manuals", manuals.documents()), ("tickets", tickets())):
        wanted = manuals.curation(await manuals.upload(channel, f"{dataset}.tar", content), tokenizer)
        wanted.dataset = f"{PROJECT}/datasets/{dataset}"
        names.append((await manuals.curate(channel, wanted)).dataset_version)
    return names


async def imported(data_channel, train_channel, folder) -> str:
    """Bring a tiny model in; return the name of its version."""
    archive = await manuals.upload(data_channel, "tiny.tar", manuals.packed(folder))
    task = {"import": models.ImportTask(model=MODEL, upload=archive.name, license="MIT")}
    stub = ModelServiceStub(train_channel)
    request = model_calls.CreateModelJobRequest(parent=PROJECT, model_job=models.ModelJob(**task))
    made = await stub.CreateModelJob(request)
    async with asyncio.timeout(180):
        async for step in stub.WatchModelJob(model_calls.WatchModelJobRequest(name=made.name)):
            if step.HasField("model_job"):
                made = step.model_job
    assert made.status.state == JobState.JOB_STATE_SUCCEEDED, made.status
    return made.model_version


async def shares_looked_for(data_svc, train_svc, base: str, names: list[str]) -> Mixture:
    """Run a small search for the shares of two versions; return the mixture that was made of what it proposes."""
    parts = [{"dataset_version": name} for name in names]
    natural = await create(data_svc, Mixture(components=parts), "natural")
    small = {"num_layers": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "num_kv_heads": 2}
    recipe = training.TrainingRecipe(pretrain=small, steps=4, tokens_per_step=256, threads=1)
    stub = MixtureJobServiceStub(train_svc.channel)
    job = searches.MixtureJob(mixture=natural.name, base_model_version=base, recipe=recipe, num_proxies=4, num_pairs=2)
    done = await stub.CreateMixtureJob(search_calls.CreateMixtureJobRequest(parent=PROJECT, mixture_job=job))
    assert [target.dataset_version for target in done.targets] == names
    async with asyncio.timeout(180):
        async for step in stub.WatchMixtureJob(search_calls.WatchMixtureJobRequest(name=done.name)):
            if step.HasField("mixture_job"):
                done = step.mixture_job
    assert done.status.state == JobState.JOB_STATE_SUCCEEDED, done.status
    assert len(done.runs) == 4 + 2 * 2
    assert done.proposal.report.sha256
    return await create(data_svc, done.proposal.mixture, "proposed")


async def test_search_for_shares_with_a_mistake_is_refused(both):
    stub = MixtureJobServiceStub(both[1].channel)
    made = await create(both[0], mixed(("handbook", 7), ("tickets", 3)))
    alone = await create(both[0], mixed(("handbook", None)), "alone")
    chat = await create(both[0], mixed(("chat", None)), "chat")
    expected = {
        "one version": ({"mixture": alone.name}, "FIELD_INVALID"),
        "another kind": ({"mixture": chat.name}, "FIELD_INVALID"),
        "unknown": ({"mixture": f"{PROJECT}/mixtures/none"}, "RESOURCE_NOT_FOUND"),
        "another project": ({"mixture": "projects/mill/mixtures/m"}, "FIELD_INVALID"),
        "nothing held out": ({"mixture": made.name}, "DATASET_EMPTY"),
    }
    for what, (fields, reason) in expected.items():
        job = searches.MixtureJob(base_model_version=BASE.name, **fields)
        asked = search_calls.CreateMixtureJobRequest(parent=PROJECT, mixture_job=job)
        error = await refused(stub.CreateMixtureJob(asked))
        assert error.reason == reason, f"{what}: {error.message}"


@pytest.mark.slow
async def test_model_is_trained_on_a_mixture_of_curated_documents_whose_shares_were_looked_for(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data_svc,
        running("train", build_train, tmp_path, peers={"data": data_svc.address}) as train_svc,
    ):
        await manuals.make_project(data_svc.channel)
        folder = make_tiny_model(tmp_path / "tiny")
        base = await imported(data_svc.channel, train_svc.channel, folder)
        names = await curated(data_svc.channel, folder)
        components = [{"dataset_version": name} for name in names]
        phases = [{"share": 3, "weights": [3, 1]}, {"display_name": "annealing", "share": 1, "weights": [1, 3]}]
        made = await create(data_svc, Mixture(components=components, phases=phases))
        expected = await MixtureServiceStub(data_svc.channel).PreviewMixture(
            calls.PreviewMixtureRequest(parent=PROJECT, name=made.name, tokens=6 * 256)
        )

        stub = TrainingServiceStub(train_svc.channel)
        request = job(made, steps=6, tokens_per_step=256, checkpoint_every_steps=2, dtype="fp32")
        request.training_job.base_model_version = base
        done = await stub.CreateTrainingJob(request)
        async with asyncio.timeout(180):
            async for step in stub.WatchTrainingJob(train_calls.WatchTrainingJobRequest(name=done.name)):
                if step.HasField("training_job"):
                    done = step.training_job
        assert done.status.state == JobState.JOB_STATE_SUCCEEDED, done.status
        assert done.usage.steps == 6
        assert done.usage.tokens == pytest.approx(expected.tokens, rel=0.1)
        registry = ModelServiceStub(train_svc.channel)
        model = await registry.GetModelVersion(model_calls.GetModelVersionRequest(name=done.model_version))
        assert (model.mixture, list(model.dataset_versions)) == (made.name, names)
        proposed = await shares_looked_for(data_svc, train_svc, base, names)
        assert [c.dataset_version for c in proposed.components] == names
