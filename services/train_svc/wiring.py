"""Puts the service together; the only place that chooses adapters."""

from __future__ import annotations

from bessemer.api.train.v1 import (
    mixture_job_service_pb2_grpc,
    model_service_pb2_grpc,
    planning_service_pb2_grpc,
    training_service_pb2_grpc,
)
from bessemer.api.worker.v1 import worker_service_pb2_grpc
from bessemer.artifacts.attestation import load_signer
from bessemer.jobs import runtime as jobs
from bessemer.jobs.decide import Policy
from bessemer.jobs.job_rpcs import JobRpcs
from bessemer.jobs.launcher_local import LocalLauncher, worker_env
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.client import peer_channel
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.service import Service
from bessemer.svckit.store import Store

from train_svc import api
from train_svc.adapters.dataset_catalog_grpc import GrpcDatasetCatalog
from train_svc.adapters.machine import Machine
from train_svc.app.mixture_jobs import MIXTURE_JOBS, MixtureJobs
from train_svc.app.model_jobs import ModelJobs, model_jobs
from train_svc.app.planning import Planning
from train_svc.app.registry import Registry
from train_svc.app.training import TRAINING_JOBS, Training
from train_svc.config import TrainConfig

__all__ = ["build"]


def build(config: ServiceConfig) -> Service:
    """Return the service, ready to be run."""
    settings, clock = TrainConfig(), SystemClock()
    objects = open_objects(
        ObjectsConfig(url=config.objects_url, access_key=config.s3_access_key, secret_key=config.s3_secret_key)
    )
    store = Store.open(config.database_url, service="train", clock=clock, extra=jobs.TABLES)
    launcher = LocalLauncher(config.home, "train", worker_env(config))
    exports = model_jobs(load_signer(config.signing_key_file))
    runtime = jobs.JobRuntime(
        store,
        [TRAINING_JOBS, MIXTURE_JOBS, exports],
        launcher,
        objects,
        clock,
        policy=Policy(parallelism=settings.parallelism),
    )
    channel = peer_channel(config, "data")
    catalog = GrpcDatasetCatalog(channel)
    planning = Planning(store, runtime, catalog, objects, host=Machine.here(config.threads))
    training = Training(store, runtime, catalog, planning, threads=config.threads)
    searches = MixtureJobs(store, runtime, catalog, threads=config.threads)
    models = api.ModelApi(Registry(store), ModelJobs(store, runtime, catalog), JobRpcs(runtime, exports))

    async def close() -> None:
        await channel.close()

    return Service(
        name="train",
        servicers=[
            (model_service_pb2_grpc.add_ModelServiceServicer_to_server, models),
            (
                training_service_pb2_grpc.add_TrainingServiceServicer_to_server,
                api.TrainingApi(training, JobRpcs(runtime, TRAINING_JOBS)),
            ),
            (
                mixture_job_service_pb2_grpc.add_MixtureJobServiceServicer_to_server,
                api.MixtureJobApi(searches, JobRpcs(runtime, MIXTURE_JOBS)),
            ),
            (planning_service_pb2_grpc.add_PlanningServiceServicer_to_server, api.PlanningApi(planning)),
            (worker_service_pb2_grpc.add_WorkerServiceServicer_to_server, runtime.servicer),
        ],
        store=store,
        background=[runtime.run],
        on_close=close,
    )
