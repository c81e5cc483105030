"""A mixture job in the worker: what it proposes, when it does not, and that it goes on where it was interrupted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_pb2 import DatasetKind
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.train.v1.mixture_job_pb2 import (
    MIXTURE_VERDICT_BETTER,
    MIXTURE_VERDICT_NO_BETTER,
    MixtureJob,
    MixtureJobInputs,
    MixtureJobState,
    MixtureTarget,
)
from bessemer.artifacts.manifest import read_manifest
from bessemer.artifacts.mixture import write_mixture
from bessemer.jobs.worker import Terminated
from google.protobuf import text_format
from train_svc.domain.mixture_search import resolve_search
from train_svc.worker import mixture_search

from tests.fixtures.training import SENTENCES, Bench

SMALL = """
recipe { pretrain { num_layers: 1 hidden_size: 32 intermediate_size: 64 num_heads: 2 num_kv_heads: 2 }
  steps: 15 tokens_per_step: 256 learning_rate: 0.01 }
num_proxies: 5 num_pairs: 3"""
Texts = Callable[[random.Random], str]


def sentences(draw: random.Random) -> str:
    return " ".join(draw.choice(SENTENCES) for _ in range(6))


def noise(draw: random.Random) -> str:
    return "".join(draw.choice("abcdefghijklmnopqrstuvwxyz 0123456789") for _ in range(180))


def version(bench: Bench, texts: Texts, seed: int) -> ArtifactRef:
    draw = random.Random(seed)
    return bench.text([texts(draw) for _ in range(60)], 64, [texts(draw) for _ in range(12)])


def job_of(bench: Bench, versions: Sequence[ArtifactRef], targets: Sequence[int]) -> MixtureJob:
    """Return a job over versions in equal shares, whose targets are some of them."""
    mixture = Mixture(kind=DatasetKind.DATASET_KIND_TEXT, sequence_length=64)
    for number, manifest in enumerate(versions):
        counts = read_manifest(bench.blobs, manifest).facts["splits"]["train"]
        mixture.components.add(
            dataset_version=f"projects/p/datasets/d{number}/versions/v1",
            manifest=manifest,
            weight=1 / len(versions),
            epochs_max=4,
            **counts,
        )
    mixture.phases.add(share=1, weights=[1 / len(versions)] * len(versions))
    job = MixtureJob(name="projects/p/mixtureJobs/j", mixture="projects/p/mixtures/m")
    job.targets.extend(MixtureTarget(dataset_version=f"projects/p/datasets/d{n}/versions/v1") for n in targets)
    text_format.Merge(SMALL, job)
    full = resolve_search(job, mixture, threads=1)
    inputs = MixtureJobInputs(model_manifest=bench.model, mixture=write_mixture(bench.blobs, mixture))
    inputs.target_manifests.extend(versions[n] for n in targets)
    full.inputs.CopyFrom(inputs)
    return full


def test_noise_is_left_out_and_an_interrupted_job_ends_as_if_it_had_not_been(tmp_path):
    bench = Bench(tmp_path)
    job = job_of(bench, [version(bench, sentences, 0), version(bench, noise, 1)], [0])
    context, link = bench.context(job, kind="mixtureJobs")
    done = mixture_search.run(context)
    found = done.result.proposal
    assert found.verdict == MIXTURE_VERDICT_BETTER
    assert found.difference_high < 0
    assert found.shares[0].share > 0.8
    assert [c.weight for c in found.mixture.components] == pytest.approx([s.share for s in found.shares])
    html = bench.blobs.get_bytes(found.report).decode()
    assert "Better than the mixture" in html
    assert "<script" not in html
    fractions = [request.progress for request in link.requests]
    assert fractions == sorted(fractions)
    assert all(request.remaining_seconds > 0 for request in link.requests[1:-1])

    again, link = bench.context(job, saved_state=saved(link.states, 4), kind="mixtureJobs")
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 20:  # in the second model of this attempt
            raise Terminated("the host goes down")

    again.check = check
    with pytest.raises(Terminated):
        mixture_search.run(again)
    assert len(MixtureJobState.FromString(link.states[-1]).runs) == 5
    last, _ = bench.context(job, saved_state=saved(link.states, 5), kind="mixtureJobs")
    resumed = mixture_search.run(last).result
    assert [list(run.losses) for run in resumed.runs] == [list(run.losses) for run in done.result.runs]
    assert resumed.proposal.shares == found.shares


def saved(states: Sequence[bytes], number: int) -> bytes:
    """Return the state after so many models."""
    return next(state for state in states if len(MixtureJobState.FromString(state).runs) == number)


def test_two_versions_of_the_same_text_are_told_no_better_than_natural(tmp_path):
    bench = Bench(tmp_path)
    job = job_of(bench, [version(bench, sentences, 0), version(bench, sentences, 1)], [0, 1])
    context, _ = bench.context(job, kind="mixtureJobs")
    found = mixture_search.run(context).result.proposal
    assert found.verdict == MIXTURE_VERDICT_NO_BETTER
    assert found.difference_low < 0 < found.difference_high
    assert [c.weight for c in found.mixture.components] == [0.5, 0.5]
    assert "No better than natural" in bench.blobs.get_bytes(found.report).decode()
