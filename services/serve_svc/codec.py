"""Messages of the API to what an engine understands, and back."""

from __future__ import annotations

import array
import base64
import json
import sys
from collections.abc import Iterable

from bessemer.api.serve.v1 import deployment_pb2, rollout_pb2
from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import InvalidRequest

from serve_svc.domain.betting import Arm
from serve_svc.domain.evidence import Evidence
from serve_svc.domain.plan import ALPHA, Metric, Plan, Signal, Stage, default_metrics, default_stages, problem_of
from serve_svc.engine.protocol import Constraint, Prompt, Sampling, TokenLogprob, Tool, ToolCall, Turn

__all__ = [
    "finish_reason",
    "floats",
    "precision_name",
    "prompt_json",
    "read_plan",
    "to_evidence",
    "to_logprobs",
    "to_plan",
    "to_precision",
    "to_prompt",
    "to_sampling",
]

PROMPT_BYTES_MAX = 3 << 20  # the transport takes messages of 4 MiB; no context of today is as long
STOP_LENGTH_MAX = 256
BIAS_MAX = 100
_FINISH = {
    "stop": api.FINISH_REASON_STOP,
    "length": api.FINISH_REASON_LENGTH,
    "tool_calls": api.FINISH_REASON_TOOL_CALLS,
    "abort": api.FINISH_REASON_ABORTED,
    "": api.FINISH_REASON_UNSPECIFIED,
}


def precision_name(precision: deployment_pb2.Precision) -> str:
    """Return a number format as engines call it; empty if that is left to them."""
    name = deployment_pb2.Precision.Name(precision).removeprefix("PRECISION_")
    return "" if name == "UNSPECIFIED" else name.lower()


def to_precision(name: str) -> deployment_pb2.Precision:
    """Return the number format that an engine calls so; unspecified where it does not tell."""
    return {
        "": deployment_pb2.PRECISION_UNSPECIFIED,
        "fp32": deployment_pb2.PRECISION_FP32,
        "bf16": deployment_pb2.PRECISION_BF16,
        "int8": deployment_pb2.PRECISION_INT8,
    }[name]


def to_prompt(message: api.Prompt) -> Prompt:
    """Read a prompt; tools that may not be called are left out.

    Raises: InvalidRequest if it is empty, has both forms, is too large, or if its tools contradict each other.
    """
    if bool(message.messages) == bool(message.text):
        raise InvalidRequest("prompt must hold either messages or text", field="prompt")
    size = message.ByteSize()
    if size > PROMPT_BYTES_MAX:
        raise InvalidRequest(f"prompt may have at most {PROMPT_BYTES_MAX} bytes; got {size}", field="prompt")
    _check_tools(message)
    turns = tuple(
        Turn(
            turn.role,
            turn.content,
            tuple(ToolCall(call.id, call.name, call.arguments or "{}") for call in turn.tool_calls),
            turn.tool_call_id,
            turn.name,
        )
        for turn in message.messages
    )
    if message.tool_choice == api.TOOL_CHOICE_NONE:
        return Prompt(turns, message.text)
    tools = tuple(Tool(tool.name, tool.description, tool.parameters_json or "{}") for tool in message.tools)
    return Prompt(turns, message.text, tools)


def to_sampling(message: api.SamplingParams, prompt: api.Prompt) -> Sampling:
    """Read sampling parameters whose ranges the field rules have checked; unset ones get their defaults.

    Raises: InvalidRequest for an empty stop string, a bias out of range, or two constraints at once.
    """
    if not all(message.stop):
        raise InvalidRequest("sampling.stop must not hold empty strings", field="sampling.stop")
    for token, bias in message.logit_bias.items():
        if token < 0 or not -BIAS_MAX <= bias <= BIAS_MAX:
            text = f"sampling.logit_bias must be -{BIAS_MAX} to {BIAS_MAX} for tokens from 0; got {token}: {bias}"
            raise InvalidRequest(text, field="sampling.logit_bias")
    return Sampling(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        temperature=message.temperature if message.HasField("temperature") else 0.7,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        top_k=message.top_k,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
        min_p=message.min_p,
        frequency_penalty=message.frequency_penalty,
        presence_penalty=message.presence_penalty,
        repetition_penalty=message.repetition_penalty if message.HasField("repetition_penalty") else 1.0,
        logit_bias=tuple(sorted(message.logit_bias.items())),
        logprobs=message.top_logprobs if message.HasField("top_logprobs") else None,
        constraint=_constraint(message, prompt),
    )


def finish_reason(finish: str) -> api.FinishReason:
    """Return why an answer ended."""
    return _FINISH[finish]


def to_logprobs(entries: Iterable[TokenLogprob]) -> list[api.TokenLogprob]:
    """Return tokens with their log-probabilities as the API sends them."""
    return [
        api.TokenLogprob(
            token_id=entry.token_id,
            token=bytes.fromhex(entry.hex),
            logprob=entry.logprob,
            alternatives=[
                api.TokenAlternative(token_id=other.token_id, token=bytes.fromhex(other.hex), logprob=other.logprob)
                for other in entry.top
            ],
        )
        for entry in entries
    ]


def floats(vector: str) -> array.array[float]:
    """Return the numbers of a vector of an engine."""
    values = array.array("f", base64.b64decode(vector))
    if sys.byteorder == "big":
        values.byteswap()
    return values


def prompt_json(prompt: Prompt) -> str:
    """Return a prompt as feedback records keep it; plain text counts as a user's turn."""
    turns = prompt.turns or (Turn("user", prompt.text),)
    return json.dumps([{"role": turn.role, "content": turn.content} for turn in turns], ensure_ascii=False)


def _check_tools(message: api.Prompt) -> None:
    for index, turn in enumerate(message.messages):
        if turn.tool_calls and turn.role != "assistant":
            field = f"prompt.messages[{index}].tool_calls"
            raise InvalidRequest(f"{field}: only an assistant calls tools", field=field)
        for number, call in enumerate(turn.tool_calls):
            _check_object(call.arguments, f"prompt.messages[{index}].tool_calls[{number}].arguments")
    if message.tools and not message.messages:
        raise InvalidRequest("prompt.tools need a conversation; give messages, not text", field="prompt.tools")
    names = [tool.name for tool in message.tools]
    if len(set(names)) < len(names):
        raise InvalidRequest("prompt.tools must have different names", field="prompt.tools")
    for index, tool in enumerate(message.tools):
        _check_object(tool.parameters_json, f"prompt.tools[{index}].parameters_json")
    forced = message.tool_choice == api.TOOL_CHOICE_REQUIRED
    if (forced and not names) or (message.tool_name and message.tool_name not in names):
        wanted = message.tool_name or "a tool that must be called"
        raise InvalidRequest(f"prompt.tools lack {wanted}; describe it there", field="prompt.tools")
    if message.tool_name and not forced:
        raise InvalidRequest("prompt.tool_name goes with tool choice REQUIRED only", field="prompt.tool_name")


def _check_object(text: str, field: str) -> None:
    try:
        good = isinstance(json.loads(text or "{}"), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise InvalidRequest(f"{field} must be the text of a JSON object", field=field)


def _constraint(message: api.SamplingParams, prompt: api.Prompt) -> Constraint | None:
    kind = message.constraint.WhichOneof("kind")
    if prompt.tool_choice == api.TOOL_CHOICE_REQUIRED:
        if kind is not None:
            raise InvalidRequest(
                "sampling.constraint cannot hold while a tool must be called; leave one of them out",
                field="sampling.constraint",
            )
        return _calls([prompt.tool_name] if prompt.tool_name else [tool.name for tool in prompt.tools], prompt)
    strict = prompt.tool_choice != api.TOOL_CHOICE_NONE and any(tool.strict for tool in prompt.tools)
    if kind is None and strict:
        return _calls([tool.name for tool in prompt.tools], prompt, optional=True)
    if kind is None or (kind == "json_object" and not message.constraint.json_object):
        return None
    if kind == "choices":
        return Constraint(kind, json.dumps(list(message.constraint.choices.texts)))
    if kind == "json_object":
        return Constraint(kind)
    value: str = getattr(message.constraint, kind)
    if not value:
        raise InvalidRequest(f"sampling.constraint.{kind} is empty", field=f"sampling.constraint.{kind}")
    return Constraint(kind, value)


def _calls(names: list[str], prompt: api.Prompt, *, optional: bool = False) -> Constraint:
    wish = {"names": names, "parallel": not prompt.single_tool_call, "optional": optional}
    return Constraint("tool_calls", json.dumps(wish))


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
