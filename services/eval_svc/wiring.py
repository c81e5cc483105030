"""Puts the service together; the only place that chooses adapters."""

from __future__ import annotations

from bessemer.api.eval.v1 import (
    audit_service_pb2_grpc,
    drift_service_pb2_grpc,
    evaluation_service_pb2_grpc,
    gate_policy_pb2_grpc,
)
from bessemer.api.worker.v1 import worker_service_pb2_grpc
from bessemer.artifacts.attestation import load_signer
from bessemer.jobs import runtime as jobs
from bessemer.jobs.job_rpcs import JobRpcs
from bessemer.jobs.launcher_local import LocalLauncher, worker_env
from bessemer.jobs.peers import peer_variable
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.client import peer_channel
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.service import Service
from bessemer.svckit.store import Store

from eval_svc.adapters.data_catalog_grpc import GrpcDataCatalog
from eval_svc.adapters.judges_file import JudgesFile
from eval_svc.adapters.model_catalog_grpc import GrpcModelCatalog
from eval_svc.adapters.serving_catalog_grpc import GrpcServingCatalog
from eval_svc.api import AuditApi, DriftApi, EvaluationApi, GatePolicyApi
from eval_svc.app.audits import Audits
from eval_svc.app.drift import Drift
from eval_svc.app.gates import Gates
from eval_svc.app.imports import Imports
from eval_svc.app.policies import Policies
from eval_svc.app.runs import Runs, evaluation_runs
from eval_svc.app.suites import Suites
from eval_svc.app.tables import TABLES

__all__ = ["build"]


def build(config: ServiceConfig) -> Service:
    """Return the service, ready to be run."""
    clock = SystemClock()
    objects = open_objects(
        ObjectsConfig(url=config.objects_url, access_key=config.s3_access_key, secret_key=config.s3_secret_key)
    )
    store = Store.open(config.database_url, service="eval", clock=clock, extra=(*jobs.TABLES, *TABLES))
    serving = peer_channel(config, "serve") if "serve" in config.peers else None
    workers = worker_env(config) | ({peer_variable("serve"): config.peers["serve"]} if serving else {})
    launcher = LocalLauncher(config.home, "eval", workers)
    kind = evaluation_runs(load_signer(config.signing_key_file))
    runtime = jobs.JobRuntime(store, [kind], launcher, objects, clock)
    data, train = peer_channel(config, "data"), peer_channel(config, "train")
    models, gates = GrpcModelCatalog(train), Gates(store, objects)
    judges = JudgesFile(config.home / "judges.json")
    catalog = GrpcDataCatalog(data)
    api = EvaluationApi(
        Suites(store, objects, catalog, judges),
        Runs(store, runtime, models, catalog, serving=GrpcServingCatalog(serving), judges=judges),
        Imports(store, objects, catalog, models),
        JobRpcs(runtime, kind),
        gates,
    )

    async def close() -> None:
        await data.close()
        await train.close()
        if serving is not None:
            await serving.close()

    return Service(
        name="eval",
        servicers=[
            (evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server, api),
            (
                gate_policy_pb2_grpc.add_GatePolicyServiceServicer_to_server,
                GatePolicyApi(Policies(store, objects, models, gates)),
            ),
            (audit_service_pb2_grpc.add_AuditServiceServicer_to_server, AuditApi(Audits(store, objects))),
            (drift_service_pb2_grpc.add_DriftServiceServicer_to_server, DriftApi(Drift(store, objects, catalog))),
            (worker_service_pb2_grpc.add_WorkerServiceServicer_to_server, runtime.servicer),
        ],
        store=store,
        background=[runtime.run],
        on_close=close,
    )
