from __future__ import annotations

import json

from bessemer.svckit.client import service_config
from bessemer.svckit.methods import contract_sha256, method_table


def test_every_method_has_an_access_rule():
    missing = [path for path, method in method_table().items() if not method.permission or not method.action]
    assert len(method_table()) > 70
    assert not missing


def test_reads_are_of_class_read_and_changes_are_not():
    odd = [
        path
        for path, method in method_table().items()
        if method.reads_only != (method.action in {"read", "public"})
        and not path.endswith(("/CountTokens", "/ReadEvents", "/Tokenize", "/Detokenize", "/Score", "/Embed"))
        and not path.endswith(("/ModelReady", "/ModelMetadata"))
    ]
    assert not odd


def test_every_change_is_repeatable_but_for_generation_and_workers():
    once = {path.rsplit("/", 1)[1] for path, method in method_table().items() if not method.retriable}
    answers = {"Generate", "StreamGenerate", "ModelInfer", "AbortRequest"}
    assert once == answers | {"AcquireTask", "Heartbeat", "ReportAttempt"}


def test_permission_begins_with_the_area_of_its_service():
    own, areas = "bessemer.api.", {"inference.GRPCInferenceService": "serve"}
    areas["bessemer.api.common.v1.SystemService"] = "system"
    odd = [
        path
        for path, method in method_table().items()
        if method.permission.split(".")[0] != areas.get(method.service, method.service.removeprefix(own).split(".")[0])
    ]
    assert not odd


def test_service_config_names_real_methods_and_has_no_timeout():
    config = json.loads(service_config())
    [entry] = config["methodConfig"]
    named = {f"/{name['service']}/{name['method']}" for name in entry["name"]}
    assert named <= method_table().keys()
    assert "timeout" not in service_config()
    assert "/bessemer.api.serve.v1.InferenceService/Generate" not in named


def test_contract_digest_is_stable():
    assert contract_sha256() == contract_sha256()
    assert len(contract_sha256()) == 64
