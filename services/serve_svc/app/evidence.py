"""The evidence of running rollouts in the store: outcomes go in one by one, in their order, and never twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from bessemer.api.serve.v1.rollout_pb2 import Rollout
from bessemer.svckit.store import Tx
from sqlalchemy import select, update

from serve_svc.app.tables import OUTCOMES, ROLLOUTS
from serve_svc.codec import read_plan, to_evidence
from serve_svc.domain.betting import Arm
from serve_svc.domain.evidence import Evidence, dump, load
from serve_svc.domain.plan import Plan
from serve_svc.domain.rollout import Decision, Move, fresh_evidence

__all__ = ["dump_all", "fill", "fold", "running"]

Found: TypeAlias = "dict[str, Evidence]"
_PAGE = 2000  # outcomes in one transaction, so that answers do not wait for the writer


def running(tx: Tx) -> list[str]:
    """Return the rollouts that have not ended."""
    return list(tx.connection.execute(select(ROLLOUTS.c.rollout).order_by(ROLLOUTS.c.rollout)).scalars())


def dump_all(found: Mapping[str, Evidence]) -> str:
    """Return what the table holds."""
    return json.dumps({metric: dump(one) for metric, one in found.items()})


def fold(tx: Tx, rollout: str, look: Callable[[Found], Decision]) -> tuple[Decision, bool]:
    """Take the outcomes that came, with a look after each block, up to the first decision to move.

    Returns the decision and whether a page was full.
    """
    row = tx.connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.rollout == rollout)).one()
    found = _load_all(row.evidence)
    fresh = select(OUTCOMES).where(OUTCOMES.c.rollout == rollout, OUTCOMES.c.sequence > row.sequence)
    outcomes = tx.connection.execute(fresh.order_by(OUTCOMES.c.sequence).limit(_PAGE)).all()
    decision, sequence = look(found), row.sequence
    for outcome in outcomes:
        if decision.move is not Move.STAY:
            break
        sequence = outcome.sequence
        if found[outcome.metric].observe(Arm(outcome.arm), good=outcome.good):
            decision = look(found)
    if sequence > row.sequence:
        values = {"sequence": sequence, "evidence": dump_all(found)}
        tx.connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.rollout == rollout).values(values))
    return decision, len(outcomes) == _PAGE


def fill(tx: Tx, rollout: Rollout) -> Rollout:
    """Put the evidence of now into a rollout; one that has ended keeps that of its end."""
    plan: Plan = read_plan(rollout.plan)
    row = tx.connection.execute(select(ROLLOUTS.c.evidence).where(ROLLOUTS.c.rollout == rollout.name)).first()
    if row is None and rollout.revision:
        return rollout
    found = _load_all(row.evidence) if row is not None else fresh_evidence(plan)
    del rollout.evidence[:]
    rollout.evidence.extend(to_evidence(plan, one, rollout.stage, found[one.id]) for one in plan.metrics)
    return rollout


def _load_all(text: str) -> Found:
    return {metric: load(state) for metric, state in json.loads(text).items()}
