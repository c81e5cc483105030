"""Settings of serving; everything that a deployment cannot choose for itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["EngineConfig", "ServeConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Limits of one engine process."""

    threads: int  # of the matrix products; more than cores owned is slower than one
    num_slots: int = 8  # answers generated together where each has room for a whole conversation
    num_sequences: int = 32  # answers generated together where they share blocks
    num_waiting_max: int = 128  # beyond that callers hear RATE_LIMITED instead of waiting for minutes
    kv_bytes_max: int = 3 << 30  # all slots together; pages are only taken as slots fill up
    prefill_tokens_max: int = 256  # prompt tokens a step, so that running answers pause for less than a second
    adapters_max: int = 32  # that an engine holds; ranks of all that answer in a step lie side by side
    load_timeout_s: float = 600.0
    ping_every_s: float = 15.0
    ping_timeout_s: float = 120.0  # far longer than any step; only a hung engine misses it


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Settings of the service around its engines."""

    models_folder: Path  # verified weights, one folder per manifest digest
    logs_folder: Path  # one file per deployment
    engine: EngineConfig
    batches_folder: Path  # files of batches while they run
    batch_requests_max: int = 16  # of batches at a time in this process; live traffic takes places away
    batch_lease_s: float = 10.0  # after which a part of a process that died is answered by another
    drain_s: float = 60.0  # for answers in flight when another deployment takes over
    backoff_s_max: float = 30.0  # between tries to start an engine
    crashes_max: int = 5  # in a row, each within a minute of starting, before a deployment fails
    count_feedback_every_s: float = 10.0  # of a loop that waits for it
    shadows_max: int = 2  # at a time; each takes a slot of the shadow's engine
    shadow_busy: int = 4  # answers of the deployment that is shown, from which on shadows hear nothing
    shadow_timeout_s: float = 120.0
    answers_kept: int = 10_000  # to join feedback with; about 40 MB
    answers_kept_s: float = 86_400.0
