"""What a mixture becomes on record, and what a run would read of it."""

from __future__ import annotations

import math

import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion, SplitCounts
from bessemer.api.data.v1.mixture_pb2 import Mixture, MixtureComponent, MixturePhase
from bessemer.api.data.v1.mixture_service_pb2 import MixtureCap
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from data_svc import codec
from data_svc.domain.mixtures import check_names, preview, resolve
from hypothesis import given
from hypothesis import strategies as st

PROJECT = "projects/p"


def version(name="a", *, kind="TEXT", rows=100, tokens=None, size=0, tokenizer="t", length=64, sealed=True):
    text = kind == "TEXT"
    return DatasetVersion(
        name=f"{PROJECT}/datasets/{name}/versions/v1",
        kind=f"DATASET_KIND_{kind}",
        manifest=ArtifactRef(key=name, sha256=name if sealed else "", size_bytes=1),
        splits=[
            SplitCounts(split="heldout", rows=5, tokens=7),
            SplitCounts(split="train", rows=rows, tokens=rows * 60 if tokens is None and text else tokens, bytes=size),
        ],
        tokenizer_sha256=tokenizer if text else "",
        sequence_length=length if text else 0,
    )


A, B = version("a"), version("b")


def asked(versions, weights=None, *, temperature=None, phases=(), **limits):
    components = [
        MixtureComponent(dataset_version=v.name, weight=weights[i] if weights else None, **limits)
        for i, v in enumerate(versions)
    ]
    return Mixture(components=components, temperature=temperature, phases=[MixturePhase(**phase) for phase in phases])


def resolved(versions, *args, **kwargs):
    return resolve(asked(versions, *args, **kwargs), versions)


def weights_of(mixture):
    return [component.weight for component in mixture.components]


def test_resolve_pins_versions_and_writes_shares_down():
    small, large = version("a"), version("b", rows=300)
    mixture = resolved([small, large], [7, 3])
    assert weights_of(mixture) == [0.7, 0.3]
    assert [c.manifest.sha256 for c in mixture.components] == ["a", "b"]
    assert [(c.rows, c.tokens, c.epochs_max) for c in mixture.components] == [(100, 6_000, 4), (300, 18_000, 4)]
    assert [(p.display_name, p.share, list(p.weights)) for p in mixture.phases] == [("all", 1, [0.7, 0.3])]
    assert (mixture.kind, mixture.tokenizer_sha256, mixture.sequence_length) == (
        DatasetKind.DATASET_KIND_TEXT,
        "t",
        64,
    )
    assert not mixture.HasField("temperature")


@pytest.mark.parametrize(
    ("temperature", "shares"),
    [(None, [0.25, 0.75]), (1, [0.25, 0.75]), (2, [1 / (1 + 3**0.5), 3**0.5 / (1 + 3**0.5)]), (1000, [0.5, 0.5])],
)
def test_resolve_without_weights_follows_temperature(temperature, shares):
    mixture = resolved([version("a"), version("b", rows=300)], temperature=temperature)
    assert weights_of(mixture) == pytest.approx(shares, abs=1e-3)
    assert mixture.temperature == (temperature or 1)


@given(st.lists(st.floats(1e-150, 1e150), min_size=1, max_size=5))
def test_resolve_any_finite_weights_become_shares(weights):
    mixture = resolved([version(f"d{i}") for i in range(len(weights))], weights)
    assert math.isclose(sum(weights_of(mixture)), 1)
    assert all(weights_of(mixture))


def test_resolve_weight_that_vanishes_beside_another_is_refused():
    with pytest.raises(InvalidRequest, match="no weight in any phase"):
        resolved([A, B], [1e-300, 1e300])


def test_resolve_phases_become_shares_of_shares():
    versions = [version("a"), version("b")]
    phases = [{"share": 3, "weights": [1, 1]}, {"display_name": "annealing", "share": 1, "weights": [0, 2]}]
    mixture = resolved(versions, phases=phases)
    assert [(p.display_name, p.share, list(p.weights)) for p in mixture.phases] == [
        ("phase-1", 0.75, [0.5, 0.5]),
        ("annealing", 0.25, [0, 1]),
    ]
    assert weights_of(mixture) == [0.375, 0.625]


def test_resolve_counts_untokenized_rows_by_their_bytes():
    mixture = resolved([version("a", kind="CHAT", size=4_000), version("b", kind="CHAT", rows=10, size=8)])
    assert [c.tokens for c in mixture.components] == [1_000, 10]  # never less than one per row


WRONG = {
    "weights for some only": ([A, B], Mixture(components=[{"dataset_version": A.name, "weight": 1}, {}]), "weight"),
    "weights and temperature": ([A, B], asked([A, B], [1, 1], temperature=2), "temperature"),
    "weights beside phases": ([A, B], asked([A, B], [1, 1], phases=[{"share": 1, "weights": [1, 1]}]), "weight"),
    "too few weights": ([A, B], asked([A, B], phases=[{"share": 1, "weights": [1]}]), "phases[0].weights"),
    "no weights in a phase": ([A, B], asked([A, B], phases=[{"share": 1, "weights": [0, 0]}]), "phases[0].weights"),
    "never read": ([A, B], asked([A, B], phases=[{"share": 1, "weights": [1, 0]}]), "components[1]"),
    "cap below a row": ([A, B], asked([A, B], tokens_max=59), "components[0].tokens_max"),
    "passes below a row": ([A, B], asked([A, B], epochs_max=0.009), "components[0].epochs_max"),
    "kinds": ([A, version("c", kind="CHAT")], None, "components[1].dataset_version"),
    "row lengths": ([A, version("c", length=128)], None, "components[1].dataset_version"),
}


@pytest.mark.parametrize("what", WRONG)
def test_resolve_refuses_and_names_the_field(what):
    versions, mixture, field = WRONG[what]
    with pytest.raises(InvalidRequest) as caught:
        resolve(mixture or asked(versions), versions)
    assert field in caught.value.fields["field"], caught.value.message


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (version("c", tokenizer="u"), "TOKENIZER_MISMATCH"),
        (version("c", sealed=False), "VERSION_NOT_SEALED"),
        (version("c", rows=0), "DATASET_EMPTY"),
    ],
)
def test_resolve_refuses_versions_that_cannot_be_read_together(other, reason):
    with pytest.raises(FailedPrecondition) as caught:
        resolved([A, other])
    assert caught.value.reason == reason
    assert other.name in caught.value.message
    if reason == "TOKENIZER_MISMATCH":
        assert A.name in caught.value.message


def test_names_empty_twice_and_of_another_project_are_refused():
    for mixture, field in [
        (Mixture(), "mixture.components"),
        (asked([A, A]), "mixture.components[1].dataset_version"),
        (Mixture(components=[{"dataset_version": "projects/pq/datasets/a/versions/v1"}]), "components[0]"),
    ]:
        with pytest.raises(InvalidRequest) as caught:
            check_names(mixture, PROJECT)
        assert field in caught.value.fields["field"]
    check_names(asked([A, B]), PROJECT)


def test_preview_reads_as_many_tokens_as_there_are():
    found = preview(resolved([A, version("b", rows=300)], [0.5, 0.5]), tokens=0, rows=4)
    assert (found.rows, found.tokens, found.tokens_short, found.tokens_estimated) == (400, 24_000, 0, False)
    assert [(c.rows, c.tokens, c.share, c.wanted_share, c.epochs) for c in found.components] == [
        (200, 12_000, 0.5, 0.5, 2),
        (200, 12_000, 0.5, 0.5, 2 / 3),
    ]
    assert [c.cap for c in found.components] == [0, 0]
    rows = [(row.row, row.dataset_version, row.component_row, row.epoch, row.phase) for row in found.first_rows]
    assert rows == [
        (0, A.name, 0, 0, "all"),
        (1, B.name, 0, 0, "all"),
        (2, A.name, 1, 0, "all"),
        (3, B.name, 1, 0, "all"),
    ]


def test_preview_names_the_cap_and_what_it_holds_back():
    versions = [version("a", rows=10), version("b", rows=1_000)]
    mixture = resolved(versions, [0.5, 0.5])
    found = preview(mixture, tokens=60_000, rows=0)
    scarce, plenty = found.components
    assert (scarce.rows, scarce.epochs, scarce.cap) == (40, 4, MixtureCap.MIXTURE_CAP_EPOCHS)
    assert (scarce.wanted_share, scarce.share) == (0.5, 0.04)
    assert scarce.tokens_short == 500 * 60 - 40 * 60
    assert (plenty.rows, plenty.cap, plenty.tokens_short) == (960, 0, 0)
    assert (found.tokens, found.tokens_short) == (60_000, 0)
    mixture.components[1].tokens_max = 30_000
    found = preview(mixture, tokens=60_000, rows=0)
    assert [c.cap for c in found.components] == [MixtureCap.MIXTURE_CAP_EPOCHS, MixtureCap.MIXTURE_CAP_TOKENS]
    assert found.tokens_short == 60_000 - (40 + 500) * 60


def test_preview_tells_phases_apart():
    phases = [{"share": 3, "weights": [1, 1]}, {"display_name": "annealing", "share": 1, "weights": [0, 1]}]
    found = preview(resolved([A, version("b", rows=300)], phases=phases), tokens=24_000, rows=0)
    assert [(p.phase, p.rows, p.share) for p in found.parts] == [
        ("phase-1", 150, 0.5),
        ("phase-1", 150, 0.5),
        ("annealing", 0, 0),
        ("annealing", 100, 1),
    ]
    assert sum(p.rows for p in found.parts) == found.rows == sum(c.rows for c in found.components)
    assert [c.epochs for c in found.components] == [1.5, 250 / 300]


def test_preview_of_untokenized_rows_says_that_tokens_are_estimated():
    mixture = resolved([version("a", kind="CHAT", size=40_000), version("b", kind="CHAT", size=40_000)])
    found = preview(mixture, tokens=10_000, rows=0)
    assert found.tokens_estimated
    assert [c.rows for c in found.components] == [50, 50]


def test_lineage_runs_from_versions_over_the_mixture_to_the_model():
    mixture = resolved([A, B])
    mixture.name = f"{PROJECT}/mixtures/m"
    mixture.content.sha256 = "c"
    model = ModelVersion(name=f"{PROJECT}/models/own/versions/v1", mixture=mixture.name, dataset_versions=[A.name])
    mixes, trained = codec.lineage_of_mixture(mixture), codec.lineage_of_model_version(model)
    assert {(e.source, e.target, e.relation) for e in (*mixes.edges, *trained.edges)} == {
        (A.name, mixture.name, "mixes"),
        (B.name, mixture.name, "mixes"),
        (A.name, model.name, "trained_on"),
        (mixture.name, model.name, "trained_on"),
    }
    assert {(node.name, node.kind, node.sha256) for node in mixes.nodes} == {
        (A.name, "datasetVersions", "a"),
        (B.name, "datasetVersions", "b"),
        (mixture.name, "mixtures", "c"),
    }
