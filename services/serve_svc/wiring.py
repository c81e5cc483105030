"""Puts the service together; the only place that chooses adapters."""

from __future__ import annotations

from functools import cache, partial

from bessemer.api.inference.v1.open_inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from bessemer.api.serve.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from bessemer.api.serve.v1.batch_inference_service_pb2_grpc import add_BatchInferenceServiceServicer_to_server
from bessemer.api.serve.v1.deployment_service_pb2_grpc import add_DeploymentServiceServicer_to_server
from bessemer.api.serve.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from bessemer.api.serve.v1.loop_service_pb2_grpc import add_LoopServiceServicer_to_server
from bessemer.api.serve.v1.rollout_service_pb2_grpc import add_RolloutServiceServicer_to_server
from bessemer.artifacts.attestation import load_signer
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.bus import Bus
from bessemer.svckit.bus_nats import NatsBus
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.consumer import EventConsumer
from bessemer.svckit.objects import ObjectsConfig, ObjectStore, open_objects
from bessemer.svckit.peer_events import PeerEvents
from bessemer.svckit.service import Service
from bessemer.svckit.store import Store

from serve_svc.adapters.engine_process import EngineProcesses
from serve_svc.adapters.loop_peers import GrpcLoopWork
from serve_svc.adapters.model_files import LocalModelFiles
from serve_svc.adapters.openai_http import OpenAIServers
from serve_svc.adapters.peers import GrpcCatalog, GrpcDriftSink, GrpcFeedbackSink, GrpcUploads, Peers
from serve_svc.adapters.tensor_process import TensorProcesses
from serve_svc.api.api_keys import ApiKeyApi
from serve_svc.api.batch_lines import LineAnswers
from serve_svc.api.batches import BatchInferenceApi
from serve_svc.api.deployments import DeploymentApi
from serve_svc.api.inference import InferenceApi
from serve_svc.api.loops import LoopApi
from serve_svc.api.open_inference import OpenInferenceApi
from serve_svc.api.openai import HttpDoor
from serve_svc.api.rollouts import RolloutApi
from serve_svc.app.adapters import Adapters, Residents
from serve_svc.app.answers import Answers
from serve_svc.app.api_keys import ApiKeys
from serve_svc.app.batch_runner import BatchRunner
from serve_svc.app.batches import Batches
from serve_svc.app.deployments import Deployments
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.app.fleet import Fleet
from serve_svc.app.inference import Inference
from serve_svc.app.loop_runner import LoopRunner
from serve_svc.app.loops import Loops
from serve_svc.app.measures import Measures, Prices
from serve_svc.app.meter import Meter
from serve_svc.app.outcomes import on_data_event
from serve_svc.app.releases import LoopReleases
from serve_svc.app.rollouts import Rollouts
from serve_svc.app.shadows import Shadows
from serve_svc.app.tables import TABLES
from serve_svc.config import EngineConfig, ServeConfig
from serve_svc.reconcile import Reconciler, RolloutLoop

__all__ = ["build"]


def build(config: ServiceConfig) -> Service:
    """Return the service, ready to be run."""
    settings = _settings(config)
    store = Store.open(config.database_url, service="serve", clock=SystemClock(), extra=TABLES)
    objects = _objects(config)
    peers, fleet = Peers(config), Fleet()
    servers = OpenAIServers(config.inference_servers)
    deployments = Deployments(store, GrpcCatalog(peers), servers)
    measures = Measures(Prices(config.price_prompt_1k, config.price_completion_1k), loads=fleet.loads)
    shadows = Shadows(store, fleet, measures, config=settings)
    answers = Answers(store, GrpcFeedbackSink(peers), kept=settings.answers_kept, kept_s=settings.answers_kept_s)
    feed = DriftFeed(GrpcDriftSink(peers), SystemClock())
    meter = Meter(store, SystemClock())
    keys = ApiKeys(store, meter)
    engines = EngineProcesses(settings.engine, settings.logs_folder)
    tensors = TensorProcesses(settings.engine, settings.logs_folder)
    files = LocalModelFiles(objects, settings.models_folder)
    residents = Residents(files, limit=settings.engine.adapters_max)
    inference = Inference(store, fleet, answers, feed, shadows, residents=residents, meter=meter, measures=measures)
    adapters = Adapters(store, deployments, fleet, residents)
    reconciler = Reconciler(store, engines, tensors, servers, files, fleet=fleet, answers=answers, config=settings)
    work, rollouts = GrpcLoopWork(peers), Rollouts(store, deployments)
    releases = LoopReleases(store, deployments, rollouts)
    runner = LoopRunner(store, work, releases, count_every_s=settings.count_feedback_every_s)
    signer, answer = cache(partial(load_signer, config.signing_key_file)), LineAnswers(inference).answer
    batches = BatchRunner(store, objects, answer, signer, in_flight=fleet.in_flight, config=settings)
    authenticator = Authenticator(config.auth, other=keys.principal)
    door = HttpDoor(inference, answers, authenticator, Authorizer(), meter=meter)
    bus = NatsBus(config.nats_url, service="serve") if config.nats_url else None
    said = _feedback(config, store, peers, bus)

    async def close() -> None:
        await shadows.close()
        await peers.close()

    return Service(
        name="serve",
        servicers=[
            (add_DeploymentServiceServicer_to_server, DeploymentApi(store, deployments, adapters, measures)),
            (add_RolloutServiceServicer_to_server, RolloutApi(store, rollouts)),
            (add_LoopServiceServicer_to_server, LoopApi(store, Loops(store, work))),
            (add_BatchInferenceServiceServicer_to_server, BatchInferenceApi(store, Batches(store, GrpcUploads(peers)))),
            (add_InferenceServiceServicer_to_server, InferenceApi(inference)),
            (add_GRPCInferenceServiceServicer_to_server, OpenInferenceApi(store, inference)),
            (add_ApiKeyServiceServicer_to_server, ApiKeyApi(store, keys, meter)),
        ],
        store=store,
        background=[
            reconciler.run,
            RolloutLoop(store, measures).run,
            feed.run,
            keys.run,
            runner.run,
            batches.run,
            *(one.run for one in said),
        ],
        authenticator=authenticator,
        http=door.app(),
        bus=bus,
        on_close=close,
    )


def _objects(config: ServiceConfig) -> ObjectStore:
    return open_objects(
        ObjectsConfig(url=config.objects_url, access_key=config.s3_access_key, secret_key=config.s3_secret_key)
    )


def _settings(config: ServiceConfig) -> ServeConfig:
    return ServeConfig(
        models_folder=config.home / "serve" / "models",
        batches_folder=config.home / "serve" / "batches",
        logs_folder=config.home / "logs" / "serve",
        engine=EngineConfig(threads=config.threads),
    )


def _feedback(config: ServiceConfig, store: Store, peers: Peers, bus: Bus | None) -> list[EventConsumer]:
    """Return what brings users' feedback, wherever they gave it."""
    if "data" not in config.peers:
        return []
    read = PeerEvents(peers.channel("data")).read
    return [
        EventConsumer(store, producer="data", consumer="feedback", handler=on_data_event, bus=bus, read_events=read)
    ]
