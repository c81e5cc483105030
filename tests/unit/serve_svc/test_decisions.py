"""What serving decides without doing anything: gates and back-off."""

from datetime import UTC, datetime, timedelta

import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.eval.v1.evaluation_pb2 import VERDICT_FAIL, VERDICT_PASS, GateDecision
from bessemer.api.eval.v1.gate_policy_pb2 import GateWaiver
from bessemer.api.serve.v1.inference_service_pb2 import Prompt, SamplingParams
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.kernel.errors import (
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    LimitReached,
    NotFound,
    Unavailable,
)
from serve_svc.app.deployments import check_gate
from serve_svc.codec import to_prompt, to_sampling
from serve_svc.engine.protocol import Sampling
from serve_svc.reconcile import backoff_s, is_final

VERSION = ModelVersion(name="projects/p/models/m/versions/v", manifest=ArtifactRef(sha256="aa"))
NOW = datetime(2026, 11, 25, tzinfo=UTC)
PASSED = {"model_version": VERSION.name, "model_sha256": "aa", "verdict": VERDICT_PASS}


def test_check_gate_passed_decision_on_these_bytes_allows():
    assert check_gate(VERSION, GateDecision(**PASSED), None, NOW) is True


@pytest.mark.parametrize(
    "decision",
    [
        None,
        GateDecision(**PASSED | {"verdict": VERDICT_FAIL}),
        GateDecision(**PASSED | {"model_sha256": "bb"}),
        GateDecision(**PASSED | {"model_version": "projects/p/models/m/versions/w"}),
    ],
)
def test_check_gate_anything_else_needs_a_waiver(decision):
    with pytest.raises(FailedPrecondition) as caught:
        check_gate(VERSION, decision, None, NOW)
    assert caught.value.reason == "GATE_NOT_PASSED"
    waiver = GateWaiver(model_version=VERSION.name, model_sha256="aa")
    waiver.expire_time.FromDatetime(NOW + timedelta(seconds=1))
    assert check_gate(VERSION, decision, waiver, NOW) is False
    with pytest.raises(FailedPrecondition, match="expired"):
        check_gate(VERSION, decision, waiver, NOW + timedelta(seconds=1))


def test_is_final_only_for_what_another_try_cannot_change():
    assert all(is_final(cls("x")) for cls in (InvalidRequest, FailedPrecondition, NotFound, DataLoss))
    assert not any(is_final(cls("x")) for cls in (Unavailable, LimitReached, Internal))


def test_backoff_doubles_up_to_its_bound():
    assert [backoff_s(n, 30) for n in (1, 2, 3, 10, 10_000)] == [0.5, 1.0, 2.0, 30.0, 30.0]


def test_codec_unset_parameters_get_defaults_and_zero_is_a_value():
    assert to_sampling(SamplingParams(), Prompt()) == Sampling()
    zero = to_sampling(SamplingParams(temperature=0, seed=0), Prompt())
    assert (zero.temperature, zero.seed) == (0.0, 0)


def test_codec_prompt_of_both_kinds_is_refused():
    with pytest.raises(InvalidRequest):
        to_prompt(Prompt(messages=[{"role": "user", "content": "x"}], text="y"))
