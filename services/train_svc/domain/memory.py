"""How much memory training takes, part by part, for our own trainer.

Activations follow what the model keeps for its backward pass, tensor by tensor; a test counts them in the model itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bessemer.api.train.v1.planning_pb2 import MemoryForecast

from train_svc.domain.parameters import ModelShape

__all__ = ["MICRO_BATCH_TOKENS", "Workload", "activation_bytes", "distinct_lengths", "forecast_memory"]

# The worker runs rows together up to this many tokens.
MICRO_BATCH_TOKENS = 1024
# Tokens whose logits exist at once.
_LOSS_CHUNK = 512
# Up to this length attention keeps its weights, in blocks of so many rows.
_PLAIN_LIMIT, _BLOCK = 512, 128
# Linear maps that carry adapters: q, k, v, o, gate, up, down.
_ADAPTED = 7
# A worker with its libraries and without a model; on an accelerator its context.
_CPU_RUNTIME, _ACCELERATOR_RUNTIME = 376 << 20, 1 << 30
# What the process keeps for each length of documents it meets, such as products built for it; seen up to 330 lengths.
_LENGTH_BYTES, _LENGTHS_MAX = 2 << 20, 330
_GRADIENTS_AT_PEAK, _LAYERS_AT_PEAK, _LOGITS_AT_PEAK, _FROZEN_AGAIN = 0.25, 0.9, 1.9, 0.7


@dataclass(frozen=True)
class Workload:
    """What a step computes: number format, adapter rank (0 trains all), tokens run together, mean document.

    `lengths` is how many different lengths of documents a run sees.
    """

    element_bytes: int
    rank: int
    micro_batch: int
    document_length: float
    lengths: float = 1.0


def distinct_lengths(pieces: float, longest: int) -> float:
    """Return how many different lengths to expect of so many pieces, if every length up to `longest` is as likely."""
    return longest * -math.expm1(-pieces / longest)


def activation_bytes(shape: ModelShape, work: Workload) -> int:
    """Return what one micro-batch keeps from the forward pass until the backward pass."""
    b, h = work.element_bytes, shape.hidden
    norm = 2 * b * h + 4  # input, output, and one over the root mean square
    length = work.document_length
    query, key = shape.query_width, shape.key_width
    if length <= _PLAIN_LIMIT:
        attention = b * (2 * query + 2 * key) + b * shape.heads * _causal_columns(length)
    else:
        attention = b * (4 * query + 3 * key) + 4 * shape.heads
    per_token = 2 * norm + attention + 4 * b * shape.feed_forward_width + b * _ADAPTED * work.rank
    # The last norm; with adapters the first one, into which no gradient flows, makes up for it.
    last = 0 if work.rank else norm - b * h
    return round(work.micro_batch * (shape.layers * per_token + last))


def forecast_memory(
    shape: ModelShape, work: Workload, *, capacity: int, on_cpu: bool, data_bytes: int = 0, devices: int = 1
) -> MemoryForecast:
    """Return memory of one device when `devices` share weights, masters, gradients and moments (ZeRO stage 3, FSDP).

    Each device runs micro-batches of its own and holds two gathered layers. Units: bytes.
    Source of the parts: Rajbhandari et al. 2020, section 3.
    """
    trained = shape.adapters(work.rank) if work.rank else shape.total
    held = shape.total + (trained if work.rank else 0)
    mixed = work.element_bytes != 4
    gradients = trained * (4 + work.element_bytes * mixed)
    parts = MemoryForecast(
        devices=devices,
        weights=-(-held * work.element_bytes // devices),
        masters=-(-4 * trained * mixed // devices),
        gradients=-(-gradients // devices),
        moments=-(-8 * trained // devices),
        activations=activation_bytes(shape, work),
        runtime=(_CPU_RUNTIME if on_cpu else _ACCELERATOR_RUNTIME) + data_bytes,
    )
    logits = min(_LOSS_CHUNK, work.micro_batch) * shape.vocabulary * (4 + work.element_bytes * mixed)
    gathered = 2 * held // shape.layers * work.element_bytes if devices > 1 else 0
    if on_cpu:
        _shape_cpu_peak(parts, shape, work, logits)
    else:
        parts.temporary = logits + parts.activations // shape.layers
    parts.temporary += gathered
    parts.total = sum(
        getattr(parts, name)
        for name in ("weights", "masters", "gradients", "moments", "activations", "temporary", "runtime")
    )
    parts.fits = parts.total <= capacity
    return parts


def _shape_cpu_peak(parts: MemoryForecast, shape: ModelShape, work: Workload, logits: int) -> None:
    """Set what is alive at the peak of a process on a CPU, in a step or when the model is saved.

    The shares were fitted once to 24 runs of six shapes, 4 to 57 million weights: gradients come while activations go,
    freed memory stays with the process and is only partly used again.
    """
    parts.runtime += round(_LENGTH_BYTES * min(work.lengths, _LENGTHS_MAX))
    all_gradients = parts.gradients
    parts.gradients = round(_GRADIENTS_AT_PEAK * all_gradients)
    kept = _LAYERS_AT_PEAK * parts.activations / shape.layers + _FROZEN_AGAIN * (parts.weights if work.rank else 0)
    parts.temporary = round(kept + _LOGITS_AT_PEAK * logits)
    if work.element_bytes == 4:
        return
    # At the end the model is read again in fp32, beside everything, from a mapped file.
    copy = 4 * shape.total
    state = parts.weights + parts.masters + parts.moments
    step = state + parts.gradients + parts.activations + kept
    saving = max(step + copy, state + all_gradients + 2 * copy)
    parts.temporary += round(max(0.0, saving - step - _LOGITS_AT_PEAK * logits))


def _causal_columns(length: float) -> float:
    """Return the mean number of columns that a row of attention weights is kept with."""
    full, rest = divmod(round(length), _BLOCK)
    cells = sum(_BLOCK * _BLOCK * (i + 1) for i in range(full)) + rest * round(length)
    return cells / max(1, round(length))
