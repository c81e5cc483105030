"""Ranks the ways to train on given data, "do not train" among them, and says which number would change the order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bessemer.api.train.v1.planning_pb2 import DataSufficiency, Forecast, MemoryForecast, PlanKind, PlanOption, Probe

from train_svc.domain.forecast import Measurement, Place, forecast, loss_of
from train_svc.domain.memory import MICRO_BATCH_TOKENS, Workload, distinct_lengths, forecast_memory
from train_svc.domain.parameters import ModelShape
from train_svc.domain.scaling import Run, effective_tokens, epochs_worth

__all__ = ["Situation", "forecast_run", "memory_by_devices", "plans", "probe"]

# Tokens per weight of a model trained from random weights; Hoffmann et al. 2022, table 3.
_TOKENS_PER_WEIGHT = 20
# More passes than these are worth clearly less than new text; Muennighoff et al. 2023, figure 5.
_EPOCHS_MAX = 4.0
# From so many unique tokens on, training all weights on text is likelier to pay than adapters are.
_CONTINUE_TOKENS = 10e6
# Fewest at which adapters on text, and fine-tuning on rows, have been seen to help.
_ADAPT_TOKENS, _ADAPT_ROWS = 50e3, 1000.0
# Nats per token that a base model finds the data harder than general text, above which continuing pays.
_NOVELTY_MIN = 0.3
# A number within this factor of its threshold decides nothing.
_CLOSE = 3.0
_ADAPTER_RANK = 16
# A budget must pay for this share of a run for the run to be worth starting.
_SHARE_MIN = 0.5
_PROBE_STEPS = 30
_DEVICES_MAX = 1024


@dataclass(frozen=True)
class Situation:
    """What is known before planning.

    `rank` is that of the adapters asked for, 0 for none; `tokens` those of the run asked for. `measured` holds the best
    measurement of runs without and with adapters. `unit` is `tokens`, `conversations` or `pairs`. Times in hours.
    """

    shape: ModelShape
    has_base: bool
    method: str
    rank: int
    element_bytes: int
    sequence_length: int
    document_length: float
    odd_pieces: int
    tokens_per_step: int
    tokens: float
    unique_tokens: float
    rows: int
    unit: str
    data_bytes: int
    place: Place
    measured: Mapping[bool, Measurement]
    ladder: Sequence[Run] = ()
    budget_hours: float = 0.0
    novelty: float | None = None


def forecast_run(s: Situation) -> Forecast:
    """Return what the run asked for takes."""
    made = forecast(
        s.shape,
        _workload(s),
        s.place,
        _memory(s, s.place.count if not s.place.on_cpu else 1),
        tokens=s.tokens,
        tokens_per_step=s.tokens_per_step,
        unique_tokens=s.unique_tokens,
        measured=s.measured.get(s.rank > 0),
    )
    from_scratch = not s.has_base and s.unit == "tokens"
    said = loss_of(
        s.ladder if from_scratch else (),
        s.shape.total,
        unique_tokens=s.unique_tokens,
        epochs=made.epochs,
        from_scratch=from_scratch,
    )
    if said is not None and s.tokens:
        made.loss.CopyFrom(said[0])
        made.loss_basis = said[1]
    return made


def memory_by_devices(s: Situation) -> list[MemoryForecast]:
    """Return memory of one device by how many share the weights: 1, 2, 4 and so on, to twice the first that fits."""
    found = [_memory(s, 1)]
    while not s.place.on_cpu and found[-1].devices < _DEVICES_MAX and not (len(found) > 1 and found[-2].fits):
        found.append(_memory(s, 2 * found[-1].devices))
    return found


def plans(s: Situation) -> list[PlanOption]:
    """Return all ways, best first: those that data, memory and budget allow, the likelier to pay before the other."""
    options = []
    if s.unit == "tokens":
        options = [_pretrain(s), _continue(s)]
    options.append(_adapt(s))
    if not s.has_base:  # nothing to continue or to adapt
        options = [o for o in options if o.kind == PlanKind.PLAN_KIND_PRETRAIN]
    order = [PlanKind.PLAN_KIND_CONTINUE, PlanKind.PLAN_KIND_PRETRAIN, PlanKind.PLAN_KIND_ADAPT]
    options.sort(key=lambda o: (not o.feasible, order.index(o.kind) if o.feasible else -_margin(o)))
    nothing = _nothing(options)
    place = next((i for i, o in enumerate(options) if not o.feasible), len(options))
    return [*options[:place], nothing, *options[place:]]


def probe(s: Situation, ranked: Sequence[PlanOption]) -> Probe | None:
    """Return the cheapest run that settles what the numbers leave open between the first two; None if they do not."""
    trained = [o for o in ranked if o.kind != PlanKind.PLAN_KIND_NONE]
    is_close = any(1 / _CLOSE <= math.exp(_margin(o)) <= _CLOSE for o in trained[:2])
    if not s.has_base or not trained or not (is_close or (trained[0].feasible and s.novelty is None)):
        return None
    tokens = min(_PROBE_STEPS * s.tokens_per_step, max(s.tokens_per_step, round(s.unique_tokens)))
    small = replace(s, rank=s.rank or _ADAPTER_RANK, tokens=tokens)
    made = forecast_run(small)
    return Probe(
        title=f"{made.steps} steps with adapters of rank {small.rank}, then the held-out split again",
        steps=made.steps,
        tokens=made.tokens,
        seconds=made.seconds.value,
        decision=(
            f"a held-out loss lower by 0.02 nats or more speaks for {trained[0].title}; less speaks for not training, "
            "and a rise on general text for fewer steps"
        ),
    )


def _workload(s: Situation) -> Workload:
    rows = max(1, MICRO_BATCH_TOKENS // s.sequence_length)
    batch = min(rows * s.sequence_length, max(s.sequence_length, s.tokens_per_step))
    read = s.odd_pieces * min(1.0, s.tokens / max(1.0, s.unique_tokens))
    lengths = distinct_lengths(read, s.sequence_length)
    return Workload(s.element_bytes, s.rank, batch, min(s.document_length, s.sequence_length), lengths)


def _memory(s: Situation, devices: int) -> MemoryForecast:
    return forecast_memory(
        s.shape,
        _workload(s),
        capacity=s.place.memory_bytes,
        on_cpu=s.place.on_cpu,
        data_bytes=s.data_bytes,
        devices=devices,
    )


def _pretrain(s: Situation) -> PlanOption:
    weights = s.shape.total
    wanted = _TOKENS_PER_WEIGHT * weights
    epochs = min(_EPOCHS_MAX, epochs_worth(max(1.0, s.unique_tokens), wanted))
    run = replace(s, rank=0, method="cpt", has_base=False, tokens=s.unique_tokens * epochs)
    size = effective_tokens(s.unique_tokens, _EPOCHS_MAX) / _TOKENS_PER_WEIGHT
    needed = wanted / effective_tokens(1.0, _EPOCHS_MAX)
    why = f"{_TOKENS_PER_WEIGHT} tokens per weight are wanted; these data feed {size:,.0f} weights in four passes"
    return _option(run, PlanKind.PLAN_KIND_PRETRAIN, "pre-train from random weights", why, needed=needed)


def _continue(s: Situation) -> PlanOption:
    is_asked = s.method == "cpt" and not s.rank
    run = replace(s, rank=0, method="cpt", tokens=s.tokens if is_asked else s.unique_tokens)
    option = _option(
        run,
        PlanKind.PLAN_KIND_CONTINUE,
        "continue pre-training all weights",
        f"from {_CONTINUE_TOKENS:,.0f} unique tokens on all weights are likelier to gain than adapters",
        needed=_CONTINUE_TOKENS,
    )
    if s.novelty is not None and s.novelty < _NOVELTY_MIN:
        option.feasible = False
        option.why = f"the base model already knows these data: {s.novelty:.2f} nats harder than general text"
        option.flip = f"a novelty of {_NOVELTY_MIN} nats per token or more"
    return option


def _adapt(s: Situation) -> PlanOption:
    method = s.method or {"tokens": "cpt", "conversations": "sft", "pairs": "dpo"}[s.unit]
    is_asked = s.method == method and (s.rank > 0 or s.unit != "tokens")
    rank = s.rank if is_asked else _ADAPTER_RANK
    run = replace(s, rank=rank, method=method, tokens=s.tokens if is_asked else s.unique_tokens)
    needed = _ADAPT_TOKENS if s.unit == "tokens" else _ADAPT_ROWS
    title = f"{method} with adapters of rank {rank}" if rank else f"{method} of all weights"
    return _option(
        run, PlanKind.PLAN_KIND_ADAPT, title, f"{needed:,.0f} {s.unit} are the fewest seen to help", needed=needed
    )


def _option(run: Situation, kind: PlanKind, title: str, why: str, *, needed: float) -> PlanOption:
    made = forecast_run(run)
    available = run.unique_tokens if run.unit == "tokens" else float(run.rows)
    option = PlanOption(
        kind=kind,
        title=title,
        feasible=True,
        why=why,
        flip=f"fewer than {needed:,.0f} {run.unit}; there are {available:,.0f}",
        parameters=run.shape.total,
        forecast=made,
        data=DataSufficiency(
            unique_tokens=round(run.unique_tokens),
            rows=0 if run.unit == "tokens" else run.rows,
            effective_tokens=effective_tokens(run.unique_tokens, made.epochs),
            needed=needed,
            available=available,
            unit=run.unit,
        ),
    )
    hours = made.seconds.value / 3600
    if available < needed:
        option.flip = f"{needed:,.0f} {run.unit}, {needed / max(1.0, available):,.1f} times what there is"
    elif not made.memory.fits:
        option.why = f"a device would hold {_gigabytes(made.memory.total)}, it has {_gigabytes(run.place.memory_bytes)}"
        option.flip = _devices_that_fit(run)
    elif run.budget_hours and run.budget_hours < _SHARE_MIN * hours:
        option.why = f"the budget pays for {run.budget_hours / hours:.0%} of the run"
        option.flip = f"{_SHARE_MIN * hours:,.1f} hours, or {hours / run.budget_hours:,.1f} times the throughput"
    else:
        return option
    option.feasible = False
    return option


def _nothing(options: Sequence[PlanOption]) -> PlanOption:
    possible = next((o for o in options if o.feasible), None)
    if possible is None:
        nearest = max(options, key=_margin)
        why = "; ".join(f"{o.title}: needs {o.flip}" for o in options)
        flip = f"{nearest.flip}, for {nearest.title}"
    else:
        why = f"{possible.title} is possible; without training, prompts and retrieval cost nothing up front"
        flip = "a probe that gains nothing would make this the first"
    return PlanOption(kind=PlanKind.PLAN_KIND_NONE, title="do not train", feasible=True, why=why, flip=flip)


def _devices_that_fit(run: Situation) -> str:
    fitting = next((m.devices for m in memory_by_devices(run) if m.fits), 0)
    return f"{fitting} devices that share the weights" if fitting else "a smaller model, shorter rows, or adapters"


def _margin(option: PlanOption) -> float:
    """Return the logarithm of what there is over what is needed."""
    return math.log(max(1.0, option.data.available) / max(1.0, option.data.needed))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
