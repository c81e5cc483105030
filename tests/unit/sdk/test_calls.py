from __future__ import annotations

import pytest
from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk.calls import AREAS, build, calls
from bessemer.sdk.jobs import JOBS, job_kind


def test_every_area_has_its_rpcs():
    assert "create_dataset" in calls("data")
    assert "create_training_job" in calls("train")
    assert "decide_gate" in calls("eval")
    assert calls("serve")["stream_generate"].streams


def test_every_changing_call_carries_a_request_id():
    for area in AREAS:
        for name, call in calls(area).items():
            if (
                name.startswith(("create_", "cancel_", "pause_", "resume_", "deploy_", "undeploy_", "set_", "submit_"))
                and name != "create_download"
            ):
                assert build(call, {}).request_id, f"{call.path} cannot be retried safely"


def test_a_field_that_does_not_exist_is_named():
    with pytest.raises(InvalidRequest, match="has no field 'parnt'"):
        build(calls("data")["create_dataset"], {"parnt": "projects/p"})


def test_every_job_kind_can_be_watched_and_listed():
    for kind in JOBS.values():
        names = calls(kind.area)
        assert {f"watch_{kind.snake}", f"list_{kind.snake}s", f"cancel_{kind.snake}"} <= set(names)
        assert (f"tail_{kind.snake}_logs" in names) == kind.has_logs


def test_a_name_that_is_no_job_is_refused():
    with pytest.raises(InvalidRequest):
        job_kind("projects/p/datasets/d")
