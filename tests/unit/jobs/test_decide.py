"""What is decided about a task, without a clock, a process or a database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bessemer.api.common.v1.job_pb2 import (
    FAILURE_KIND_INFRA,
    FAILURE_KIND_NUMERIC,
    FAILURE_KIND_SYSTEM,
    FAILURE_KIND_USER,
    JOB_STATE_CANCELLING,
    JOB_STATE_PAUSED,
    JOB_STATE_PAUSING,
    JOB_STATE_PENDING,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    JOB_STATE_SUCCEEDED,
)
from bessemer.jobs.decide import (
    Expire,
    Failure,
    Instant,
    Kill,
    Launch,
    Lose,
    Policy,
    Stop,
    Submit,
    Task,
    decide,
    judge,
)
from bessemer.jobs.launcher import WorkerState, WorkerStatus
from hypothesis import given
from hypothesis import strategies as st

NAME = "projects/p/trainingJobs/j"
NOW = Instant(boot_s=1000.0, boot_id="boot", wall_s=5_000_000.0)
RUNNING, EXITED, UNKNOWN = (
    WorkerStatus(state) for state in (WorkerState.RUNNING, WorkerState.EXITED, WorkerState.UNKNOWN)
)
QUEUED = Task(NAME, "trainingJobs", JOB_STATE_QUEUED, queued_wall_s=NOW.wall_s, boot_id="boot", since_s=1000.0)
HELD = replace(QUEUED, state=JOB_STATE_RUNNING, epoch=1, worker="w", lease_until_s=1010.0)
PENDING = replace(QUEUED, state=JOB_STATE_PENDING, epoch=1)


def after(seconds: float) -> Instant:
    return replace(NOW, boot_s=NOW.boot_s + seconds)


def decided(task, worker=RUNNING, now=NOW, *, slots=1, started_s=0.0):
    return decide(task, worker, now, policy=Policy(), started_s=started_s, slots=slots)


def test_decide_queued_with_a_free_slot_launches():
    assert decided(QUEUED) == Launch()
    assert decided(QUEUED, slots=0) is None


def test_decide_queued_waits_for_its_back_off_but_not_over_a_reboot():
    waiting = replace(QUEUED, epoch=1, not_before_s=1005.0)
    assert decided(waiting) is None
    assert decided(waiting, now=after(5.0)) == Launch()
    assert decided(replace(waiting, boot_id="earlier boot")) == Launch()


def test_decide_queued_for_too_long_expires_only_before_the_first_attempt():
    old = replace(QUEUED, queued_wall_s=NOW.wall_s - 8 * 86_400)
    assert decided(old) == Expire()
    assert decided(replace(old, epoch=1)) == Launch()


def test_decide_pending_submits_again_what_never_arrived():
    assert decided(PENDING, UNKNOWN) == Submit()


def test_decide_pending_worker_that_died_or_does_not_claim_is_lost():
    assert isinstance(decided(PENDING, EXITED), Lose)
    assert decided(PENDING, now=after(119)) is None
    assert decided(PENDING, now=after(121)).kill
    assert decided(PENDING, now=after(121), started_s=1100.0) is None  # nobody listened until then


def test_decide_running_worker_that_exited_is_lost_at_once_with_its_signal_named():
    effect = decided(HELD, WorkerStatus(WorkerState.EXITED, -9))
    assert effect == Lose("the worker process was killed by SIGKILL without a result")


def test_decide_running_lease_expires_by_the_boot_clock_and_kills():
    assert decided(HELD, now=after(9.9)) is None
    assert decided(HELD, now=after(10.1)).kill
    assert decided(HELD, now=replace(NOW, wall_s=9e9)) is None  # a moved wall clock changes nothing


def test_decide_running_lease_is_given_a_fresh_term_after_a_restart_of_the_service():
    late = after(100)
    assert decided(HELD, now=late, started_s=late.boot_s - 14) is None
    assert decided(HELD, now=late, started_s=late.boot_s - 16).kill


def test_decide_other_boot_loses_every_worker():
    for state in (JOB_STATE_PENDING, JOB_STATE_RUNNING, JOB_STATE_PAUSING):
        assert decided(replace(HELD, state=state, boot_id="earlier")) == Lose("the host was restarted")
    assert decided(replace(HELD, state=JOB_STATE_CANCELLING, boot_id="earlier")) == Stop()


def test_decide_pausing_is_killed_after_its_grace():
    pausing = replace(HELD, state=JOB_STATE_PAUSING, lease_until_s=9999.0)
    assert decided(pausing, now=after(59)) is None
    assert decided(pausing, now=after(61)) == Kill()


def test_decide_cancelling_kills_until_nobody_is_left():
    cancelling = replace(HELD, state=JOB_STATE_CANCELLING)
    assert decided(cancelling) == Kill()
    assert decided(cancelling, EXITED) == Stop()
    assert decided(cancelling, UNKNOWN) == Stop()
    assert decided(cancelling, now=after(30)) == Stop()  # unreachable and silent: its writes are refused anyway


def test_decide_paused_and_ended_jobs_are_left_alone():
    assert decided(replace(HELD, state=JOB_STATE_PAUSED)) is None
    assert decided(replace(HELD, state=JOB_STATE_SUCCEEDED)) is None


def fail(task, kind, times, *, reported=True, between=lambda task: task):
    """Return the verdicts of failures in a row, until the first that gives up."""
    verdicts = []
    for _ in range(times):
        verdict = judge(task, Failure(kind, "it broke", reported))
        verdicts.append(verdict)
        if not verdict.retry:
            break
        task = replace(
            task,
            epoch=task.epoch + 1,
            failures=verdict.failures,
            failed_at=verdict.failed_at,
            repeats=verdict.repeats,
        )
        task = between(task)
    return verdicts


@pytest.mark.parametrize(
    ("kind", "attempts"), [(FAILURE_KIND_USER, 1), (FAILURE_KIND_SYSTEM, 2), (FAILURE_KIND_NUMERIC, 3)]
)
def test_judge_each_kind_has_its_budget(kind, attempts):
    verdicts = fail(HELD, kind, 20)
    assert len(verdicts) == attempts
    assert not verdicts[-1].retry
    assert "it broke" in verdicts[-1].message


def test_judge_reported_infra_failures_get_ten_retries_with_growing_delays():
    verdicts = fail(HELD, FAILURE_KIND_INFRA, 20)
    assert len(verdicts) == 11
    delays = [verdict.delay_s for verdict in verdicts]
    assert delays[0] == 0.0
    for number, delay in enumerate(delays[1:8]):
        assert 0.5 * min(60, 2**number) <= delay <= min(60, 2**number)
    assert max(delays) <= 60


def test_judge_saved_progress_renews_the_infra_budget():
    def progress(task):
        return replace(task, saved_state=task.saved_state + b"x")

    assert len(fail(HELD, FAILURE_KIND_INFRA, 50, between=progress)) == 50
    assert len(fail(HELD, FAILURE_KIND_INFRA, 50, reported=False, between=progress)) == 50


def test_judge_three_crashes_at_the_same_progress_stop_and_say_so():
    verdicts = fail(replace(HELD, progress=0.42), FAILURE_KIND_INFRA, 50, reported=False)
    assert len(verdicts) == 3
    assert verdicts[-1].message == "failed 3 times at the same progress (42%); it broke"


@given(st.integers(1, 1000), st.integers(0, 9))
def test_judge_is_the_same_for_the_same_attempt(epoch, failures):
    task = replace(HELD, epoch=epoch, failures={"INFRA": failures}, failed_at="e3b0c44298fc1c14:0.5")
    failure = Failure(FAILURE_KIND_INFRA, "x", reported=True)
    assert judge(task, failure) == judge(task, failure)
