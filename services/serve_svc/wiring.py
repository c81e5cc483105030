"""Puts the service together; the only place that chooses adapters."""

from __future__ import annotations

from bessemer.api.serve.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from bessemer.api.serve.v1.deployment_service_pb2_grpc import add_DeploymentServiceServicer_to_server
from bessemer.api.serve.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.service import Service
from bessemer.svckit.store import Store

from serve_svc.adapters.engine_process import EngineProcesses
from serve_svc.adapters.model_files import LocalModelFiles
from serve_svc.adapters.peers import GrpcCatalog, GrpcDriftSink, GrpcFeedbackSink, Peers
from serve_svc.api.api_keys import ApiKeyApi
from serve_svc.api.deployments import DeploymentApi
from serve_svc.api.inference import InferenceApi
from serve_svc.api.openai import HttpDoor
from serve_svc.app.answers import Answers
from serve_svc.app.api_keys import ApiKeys
from serve_svc.app.deployments import Deployments
from serve_svc.app.drift_feed import DriftFeed
from serve_svc.app.fleet import Fleet
from serve_svc.app.inference import Inference
from serve_svc.app.meter import Meter
from serve_svc.app.tables import TABLES
from serve_svc.config import EngineConfig, ServeConfig
from serve_svc.reconcile import Reconciler

__all__ = ["build"]


def build(config: ServiceConfig) -> Service:
    """Return the service, ready to be run."""
    settings = ServeConfig(
        models_folder=config.home / "serve" / "models",
        logs_folder=config.home / "logs" / "serve",
        engine=EngineConfig(threads=config.threads),
    )
    store = Store.open(config.database_url, service="serve", clock=SystemClock(), extra=TABLES)
    objects = open_objects(
        ObjectsConfig(url=config.objects_url, access_key=config.s3_access_key, secret_key=config.s3_secret_key)
    )
    peers, fleet = Peers(config), Fleet()
    deployments = Deployments(store, GrpcCatalog(peers))
    answers = Answers(store, GrpcFeedbackSink(peers), kept=settings.answers_kept, kept_s=settings.answers_kept_s)
    feed = DriftFeed(GrpcDriftSink(peers), SystemClock())
    meter = Meter(store, SystemClock())
    keys = ApiKeys(store, meter)
    inference = Inference(store, fleet, answers, feed, meter)
    engines = EngineProcesses(settings.engine, settings.logs_folder)
    files = LocalModelFiles(objects, settings.models_folder)
    reconciler = Reconciler(store, engines, files, fleet, answers, config=settings)
    authenticator = Authenticator(config.auth, other=keys.principal)
    door = HttpDoor(inference, answers, authenticator, Authorizer(), meter=meter)
    return Service(
        name="serve",
        servicers=[
            (add_DeploymentServiceServicer_to_server, DeploymentApi(store, deployments)),
            (add_InferenceServiceServicer_to_server, InferenceApi(inference)),
            (add_ApiKeyServiceServicer_to_server, ApiKeyApi(store, keys, meter)),
        ],
        store=store,
        background=[reconciler.run, feed.run, keys.run],
        authenticator=authenticator,
        http=door.app(),
        on_close=peers.close,
    )
