"""Puts the service together; the only place that chooses adapters."""

from __future__ import annotations

from bessemer.api.data.v1 import (
    artifact_service_pb2_grpc,
    dataset_job_service_pb2_grpc,
    dataset_service_pb2_grpc,
    feedback_service_pb2_grpc,
    lineage_service_pb2_grpc,
    mixture_service_pb2_grpc,
    project_service_pb2_grpc,
)
from bessemer.api.worker.v1 import worker_service_pb2_grpc
from bessemer.jobs import runtime as jobs
from bessemer.jobs.decide import Policy
from bessemer.jobs.job_rpcs import JobRpcs
from bessemer.jobs.launcher_local import LocalLauncher, worker_env
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.bus import Bus
from bessemer.svckit.bus_nats import NatsBus
from bessemer.svckit.client import peer_channel
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.consumer import EventConsumer
from bessemer.svckit.objects import ObjectsConfig, ObjectStore, open_objects
from bessemer.svckit.objects_files import FileObjects
from bessemer.svckit.peer_events import PeerEvents
from bessemer.svckit.service import Service
from bessemer.svckit.store import Store
from starlette.applications import Starlette

from data_svc import api, events
from data_svc.adapters.contamination_sql import SUITES, SuiteTable
from data_svc.adapters.file_door import FileDoor
from data_svc.adapters.lineage_sql import TABLES, LineageTables
from data_svc.app.contents import Contents
from data_svc.app.curation import Curation, curation_kind
from data_svc.app.dataset_jobs import TASKS, DatasetJobs, dataset_job_kind
from data_svc.app.datasets import Datasets
from data_svc.app.deletion import Deletion
from data_svc.app.erasure import erasure_task
from data_svc.app.feedback import Feedback
from data_svc.app.feedback_curation import FeedbackCurator
from data_svc.app.lineage import Ancestry
from data_svc.app.mixtures import Mixtures
from data_svc.app.projects import Projects
from data_svc.app.uploads import Uploads
from data_svc.config import DataConfig
from data_svc.ports import KnownSuites, LineageGraph
from data_svc.reconcile import Cleaner

__all__ = ["build"]


def build(config: ServiceConfig) -> Service:
    """Return the service, ready to be run."""
    settings, clock = DataConfig(), SystemClock()
    scratch = config.home / "data" / "scratch"
    objects = open_objects(_objects_config(config))
    store = Store.open(config.database_url, service="data", clock=clock, extra=(*jobs.TABLES, *TABLES, SUITES))
    graph, suites = LineageTables(), SuiteTable()
    bus = NatsBus(config.nats_url, service="data") if config.nats_url else None
    kind = curation_kind(graph)
    curator = FeedbackCurator(store, objects, clock, graph=graph, suites=suites, scratch=scratch)
    tasks = {**TASKS, "erase": erasure_task(graph), "curate_feedback": curator.task()}
    dataset_kind = dataset_job_kind(tasks)
    launcher = LocalLauncher(config.home, "data", worker_env(config))
    runtime = jobs.JobRuntime(
        store, [kind, dataset_kind], launcher, objects, clock, policy=Policy(parallelism=settings.parallelism)
    )
    uploads = Uploads(store, objects, clock, scratch=scratch, url_lifetime_s=settings.url_lifetime_s)
    contents = Contents(store, objects, scratch=scratch)
    consumers = _consumers(config, store, bus, graph, suites)

    async def hear_of_suites() -> None:
        for consumer in consumers:
            if consumer.name == "suites":
                await consumer.catch_up()

    curation = api.CurationApi(
        Curation(store, runtime, objects, suites, hear_of_suites, clock=clock), JobRpcs(runtime, kind)
    )
    dataset_jobs = api.DatasetJobApi(DatasetJobs(store, runtime, tasks), JobRpcs(runtime, dataset_kind))
    datasets = api.DatasetApi(Datasets(store), contents, Deletion(store, objects))
    mixtures = api.MixtureApi(Mixtures(store, objects, graph))
    return Service(
        name="data",
        servicers=[
            (project_service_pb2_grpc.add_ProjectServiceServicer_to_server, api.ProjectApi(Projects(store))),
            (artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server, api.ArtifactApi(uploads)),
            (dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, datasets),
            (dataset_service_pb2_grpc.add_CurationServiceServicer_to_server, curation),
            (dataset_job_service_pb2_grpc.add_DatasetJobServiceServicer_to_server, dataset_jobs),
            (feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server, api.FeedbackApi(Feedback(store))),
            (lineage_service_pb2_grpc.add_LineageServiceServicer_to_server, api.LineageApi(Ancestry(store, graph))),
            (mixture_service_pb2_grpc.add_MixtureServiceServicer_to_server, mixtures),
            (worker_service_pb2_grpc.add_WorkerServiceServicer_to_server, runtime.servicer),
        ],
        store=store,
        background=[runtime.run, Cleaner(store, objects, clock).run, *(c.run for c in consumers)],
        http=_door(config, objects, clock),
        bus=bus,
    )


def _consumers(
    config: ServiceConfig, store: Store, bus: Bus | None, graph: LineageGraph, suites: KnownSuites
) -> list[EventConsumer]:
    """Return the consumers of every peer that has an address."""
    wanted = [(peer, "lineage", events.lineage_handler(graph)) for peer in events.PRODUCERS]
    wanted.append(("eval", "suites", events.suite_handler(suites)))
    return [
        EventConsumer(
            store,
            producer=peer,
            consumer=consumer,
            handler=handler,
            bus=bus,
            read_events=PeerEvents(peer_channel(config, peer)).read,
        )
        for peer, consumer, handler in wanted
        if peer in config.peers
    ]


def _door(config: ServiceConfig, objects: ObjectStore, clock: SystemClock) -> Starlette | None:
    """Return the HTTP door for files; S3 has its own."""
    if not isinstance(objects, FileObjects) or config.door_key_file is None:
        return None
    return FileDoor(objects, _door_key(config), clock, scratch=config.home / "data" / "scratch").app()


def _objects_config(config: ServiceConfig) -> ObjectsConfig:
    return ObjectsConfig(
        url=config.objects_url,
        access_key=config.s3_access_key,
        secret_key=config.s3_secret_key,
        door_url=config.door_url,
        door_key=_door_key(config) if config.door_key_file else None,
    )


def _door_key(config: ServiceConfig) -> bytes:
    assert config.door_key_file is not None
    return config.door_key_file.read_bytes().strip()
