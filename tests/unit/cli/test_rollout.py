"""What the commands for traffic understand and show."""

import io

import pytest
import typer
from bessemer.api.serve.v1 import rollout_pb2
from bessemer.cli.endpoint import parse_shares
from bessemer.cli.rollout import left_text, parse_stages, rollout_table
from rich.console import Console


def test_shares_and_stages_are_read_and_nonsense_says_how_to_write_them():
    assert parse_shares(["d-1=90", "d-2=10"]) == {"d-1": 90.0, "d-2": 10.0}
    assert parse_stages("shadow:20,1:20,50") == [
        {"shadow": True, "percent": 100.0, "harm": 0.2},
        {"shadow": False, "percent": 1.0, "harm": 0.2},
        {"shadow": False, "percent": 50.0, "harm": 0.0},
    ]
    for bad in ("d-1", "d-1=x"):
        with pytest.raises(typer.BadParameter, match="DEPLOYMENT=PERCENT"):
            parse_shares([bad])
    with pytest.raises(typer.BadParameter, match="PERCENT"):
        parse_stages("1,many")


def test_time_left_follows_the_speed_so_far():
    assert left_text(None, 5, 60.0) == "not yet known"
    assert left_text(0, 5, 60.0) == "shown"
    assert left_text(100, 50, 300.0) == "about 100 pairs, 10 min 00 s"


def test_table_of_a_rollout_shows_counts_evidence_and_what_is_left():
    rollout = rollout_pb2.Rollout(
        name="projects/p/endpoints/chat/rollouts/r",
        state=rollout_pb2.ROLLOUT_STATE_RUNNING,
        plan={
            "stages": [{"percent": 10, "harm": 0.1}, {"percent": 50}],
            "metrics": [{"id": "feedback"}, {"id": "ttft", "guard_only": True}],
        },
        steps=[{"reason": "the candidate is loaded"}],
        evidence=[
            {
                "metric": "feedback",
                "baseline": {"total": 40, "good": 32},
                "candidate": {"total": 10, "good": 7},
                "pairs": 10,
                "difference": -0.1,
                "worse": 1.5,
                "worse_threshold": 40,
                "safe": 0.9,
                "safe_threshold": 20,
                "harm": 0.1,
                "pairs_left": 77,
            },
            {"metric": "ttft", "worse": 1, "worse_threshold": 40, "safe": 1, "safe_threshold": 20},
        ],
    )
    out = io.StringIO()
    Console(file=out, width=200).print(rollout_table(rollout, {"feedback": [0.1, 0.4]}))
    text = out.getvalue()
    for part in ("chat/r: running, stage 1 of 2: 10 %", "70.0 % of 10", "-10.0 pt", "1.5 of 40", "about 77 pairs"):
        assert part in text
    assert "guards only" in text
    assert "none yet" in text
