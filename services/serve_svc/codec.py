"""Messages of the API to what an engine understands, and back."""

from __future__ import annotations

import json

from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.api.serve.v1 import rollout_pb2
from bessemer.kernel.errors import InvalidRequest

from serve_svc.domain.betting import Arm
from serve_svc.domain.evidence import Evidence
from serve_svc.domain.plan import ALPHA, Metric, Plan, Signal, Stage, default_metrics, default_stages, problem_of
from serve_svc.engine.protocol import Prompt, Sampling, Turn

__all__ = ["finish_reason", "prompt_json", "read_plan", "to_evidence", "to_plan", "to_prompt", "to_sampling"]

PROMPT_BYTES_MAX = 3 << 20  # the transport takes messages of 4 MiB; no context of today is as long
STOP_LENGTH_MAX = 256
_FINISH = {"stop": api.FINISH_REASON_STOP, "length": api.FINISH_REASON_LENGTH, "": api.FINISH_REASON_UNSPECIFIED}


def to_prompt(message: api.Prompt) -> Prompt:
    """Read a prompt.

    Raises: InvalidRequest if it is empty, has both forms, or is too large.
    """
    if bool(message.messages) == bool(message.text):
        raise InvalidRequest("prompt must hold either messages or text", field="prompt")
    size = message.ByteSize()
    if size > PROMPT_BYTES_MAX:
        raise InvalidRequest(f"prompt may have at most {PROMPT_BYTES_MAX} bytes; got {size}", field="prompt")
    return Prompt(tuple(Turn(turn.role, turn.content) for turn in message.messages), message.text)


def to_sampling(message: api.SamplingParams) -> Sampling:
    """Read sampling parameters whose ranges the field rules have checked; unset ones get their defaults.

    Raises: InvalidRequest for an empty stop string.
    """
    if not all(message.stop):
        raise InvalidRequest("sampling.stop must not hold empty strings", field="sampling.stop")
    return Sampling(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        temperature=message.temperature if message.HasField("temperature") else 0.7,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        top_k=message.top_k,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
    )


def finish_reason(finish: str) -> api.FinishReason:
    """Return why an answer ended."""
    return _FINISH[finish]


def prompt_json(prompt: Prompt) -> str:
    """Return a prompt as feedback records keep it; plain text counts as a user's turn."""
    turns = prompt.turns or (Turn("user", prompt.text),)
    return json.dumps([{"role": turn.role, "content": turn.content} for turn in turns], ensure_ascii=False)


def read_plan(message: rollout_pb2.RolloutPlan) -> Plan:
    """Read a plan; what is empty gets its default.

    Raises: InvalidRequest naming what cannot be carried out.
    """
    stages = [Stage(shadow=one.shadow, percent=one.percent, harm=one.harm, min_s=one.min_s) for one in message.stages]
    plan = Plan(
        stages=stages or default_stages(),
        metrics=[_metric(one) for one in message.metrics] or default_metrics(),
        alpha=message.alpha or ALPHA,
        count_repeats=message.count_repeats,
    )
    if problem := problem_of(plan):
        field, text = problem
        raise InvalidRequest(text, field=field)
    return plan


def to_plan(plan: Plan) -> rollout_pb2.RolloutPlan:
    """Return a plan with its defaults filled in."""
    return rollout_pb2.RolloutPlan(
        stages=[
            rollout_pb2.RolloutStage(shadow=one.shadow, percent=one.percent, harm=one.harm, min_s=one.min_s)
            for one in plan.stages
        ],
        metrics=[
            rollout_pb2.RolloutMetric(
                id=one.id,
                signal=f"ROLLOUT_SIGNAL_{one.signal.upper()}",
                margin=one.margin,
                budget_s=one.budget_s,
                guard_only=one.guard_only,
            )
            for one in plan.metrics
        ],
        alpha=plan.alpha,
        count_repeats=plan.count_repeats,
    )


def to_evidence(plan: Plan, metric: Metric, stage: int, found: Evidence) -> rollout_pb2.MetricEvidence:
    """Return where a metric stands in a stage."""
    harm = plan.harm(metric, stage)
    counts = {
        arm: rollout_pb2.ArmCounts(total=found.total[arm], good=found.good[arm])
        for arm in (Arm.BASELINE, Arm.CANDIDATE)
    }
    return rollout_pb2.MetricEvidence(
        metric=metric.id,
        baseline=counts[Arm.BASELINE],
        candidate=counts[Arm.CANDIDATE],
        pairs=found.pairs,
        difference=found.difference,
        worse=found.worse.evidence,
        worse_threshold=plan.worse_threshold,
        safe=found.safe_evidence(harm),
        safe_threshold=plan.safe_threshold,
        harm=harm,
        pairs_left=found.pairs_left(harm, plan.safe_threshold) if plan.needed(metric, stage) else None,
    )


def _metric(message: rollout_pb2.RolloutMetric) -> Metric:
    name = rollout_pb2.RolloutSignal.Name(message.signal).removeprefix("ROLLOUT_SIGNAL_").lower()
    if message.signal == rollout_pb2.ROLLOUT_SIGNAL_UNSPECIFIED:
        raise InvalidRequest(f"metric {message.id} has no signal; give it one", field="plan.metrics")
    return Metric(
        id=message.id,
        signal=Signal(name),
        margin=message.margin,
        budget_s=message.budget_s,
        guard_only=message.guard_only,
    )
