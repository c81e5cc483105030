"""What a training job would take, from models, data and past jobs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.train.v1 import planning_service_pb2 as pb
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.api.train.v1.planning_pb2 import Device, Forecast, ParameterCounts
from bessemer.api.train.v1.training_job_pb2 import TrainingJob, TrainingRecipe
from bessemer.artifacts.blobs import Blobs, Objects
from bessemer.artifacts.manifest import read_manifest
from bessemer.jobs.runtime import JobRuntime
from bessemer.kernel.errors import BessemerError, InvalidRequest
from bessemer.kernel.ids import project_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from train_svc.app.registry import find_version
from train_svc.domain import inputs, recipe
from train_svc.domain.forecast import BASES, Measurement, Place, place_of
from train_svc.domain.parameters import ModelShape, shape_of
from train_svc.domain.planner import Situation, forecast_run, memory_by_devices, plans, probe
from train_svc.domain.scaling import Run
from train_svc.domain.situation import data_facts, is_same_shape, measurement_of, method_for
from train_svc.ports import DatasetCatalog

__all__ = ["Host", "Planning"]

_LOG = logging.getLogger(__name__)
_JOBS_LOOKED_AT = 100
_RATE = "train/tokens_per_second"
_METRIC_POINTS = 1000


class Host(Protocol):
    """The machine that workers run on."""

    @property
    def memory_bytes(self) -> int:
        """Memory of the machine."""

    @property
    def has_bf16(self) -> bool:
        """Whether the processor multiplies bf16."""

    @property
    def threads(self) -> int:
        """Threads of a worker, unless a recipe says otherwise."""


@dataclass(frozen=True)
class _Case:
    """Model and data of one question; `base` has no manifest when the model is described by a configuration only."""

    base: ModelVersion
    shape: ModelShape
    recipe: TrainingRecipe
    versions: Sequence[DatasetVersion]
    mixture: Mixture | None


class Planning:
    """Use cases of planning; nothing is stored."""

    def __init__(
        self, store: Store, runtime: JobRuntime, catalog: DatasetCatalog, objects: Objects, *, host: Host
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._catalog = catalog
        self._objects = objects
        self._host = host

    async def estimate(self, request: pb.EstimateTrainingJobRequest) -> pb.EstimateTrainingJobResponse:
        """Forecast the job that the request describes and rank the ways to train on its data."""
        case = await self._case(request)
        situation = await self._situation(
            case, place=self._place(request.device, case.recipe), request=request, job=request.calibration_job
        )
        ranked, shape = plans(situation), case.shape
        return pb.EstimateTrainingJobResponse(
            parameters=ParameterCounts(
                total=shape.total,
                active=shape.active,
                embedding=shape.embedding,
                attention=shape.attention,
                feed_forward=shape.feed_forward,
                experts=shape.experts,
                norms=shape.norms,
                trained=shape.adapters(situation.rank) if situation.rank else shape.total,
            ),
            recipe=case.recipe,
            forecast=_calibrated(situation, forecast_run(situation)),
            memory=memory_by_devices(situation),
            plans=ranked,
            probe=probe(situation, ranked),
            assumptions=_assumptions(situation),
        )

    async def forecast_of(
        self,
        full: TrainingRecipe,
        base: ModelVersion,
        versions: Sequence[DatasetVersion],
        mixture: Mixture | None,
    ) -> Forecast | None:
        """Return what a job about to be created should take on this machine; None when that cannot be told.

        What a method takes that learns from the model's own answers depends on how long those get.
        """
        if full.WhichOneof("method") in recipe.ROLLOUT_METHODS:
            return None
        try:
            case = _Case(base, shape_of(await self._config(base)), full, versions, mixture)
            situation = await self._situation(case, place=self._place(Device(), full))
        except BessemerError as error:
            _LOG.info("no forecast for a job from %s: %s", base.name, error)
            return None
        return _calibrated(situation, forecast_run(situation))

    async def _case(self, request: pb.EstimateTrainingJobRequest) -> _Case:
        if bool(request.base_model_version) == bool(request.config_json):
            raise InvalidRequest("give either base_model_version or config_json", field="base_model_version")
        if bool(request.dataset_versions) == bool(request.mixture):
            raise InvalidRequest("give either dataset_versions or a mixture", field="dataset_versions")
        mixture = await self._catalog.mixture(request.mixture) if request.mixture else None
        names = [part.dataset_version for part in mixture.components] if mixture else request.dataset_versions
        versions = await asyncio.gather(*(self._catalog.version(name) for name in names))
        wanted = TrainingRecipe()
        wanted.CopyFrom(request.recipe)
        if wanted.WhichOneof("method") is None:
            getattr(wanted, method_for(versions)).SetInParent()
        full = recipe.resolve(wanted, threads=self._host.threads)
        if request.base_model_version:
            base = await self._store.read(lambda tx: find_version(tx, request.base_model_version))
            inputs.check_fit(full, base, versions, is_mixed=mixture is not None)
            config: Mapping[str, Any] = await self._config(base)
        else:
            config = _parsed(request.config_json)
            context = config.get("max_position_embeddings")
            base = ModelVersion(name="config_json", context_length=context if isinstance(context, int) else 2048)
        full.sequence_length = inputs.sequence_length(full, base, versions)
        return _Case(base, shape_of(config), full, versions, mixture)

    async def _situation(
        self,
        case: _Case,
        *,
        place: Place,
        request: pb.EstimateTrainingJobRequest | None = None,
        job: str = "",
    ) -> Situation:
        asked = request or pb.EstimateTrainingJobRequest()
        method, full = str(case.recipe.WhichOneof("method")), case.recipe
        facts = data_facts(case.versions, case.mixture)
        bf16 = full.dtype == "bf16" or (full.dtype == "auto" and (self._host.has_bf16 or not place.on_cpu))
        measured = await self._store.read(lambda tx: self._measured(tx, case, job)) if place.on_cpu else {}
        return Situation(
            shape=case.shape,
            has_base=case.base.HasField("manifest"),
            method=method,
            rank=full.lora.rank if full.HasField("lora") else 0,
            element_bytes=2 if bf16 else 4,
            sequence_length=full.sequence_length,
            document_length=facts.document_length,
            odd_pieces=facts.odd_pieces,
            tokens_per_step=full.tokens_per_step,
            tokens=float(full.steps * full.tokens_per_step) if full.HasField("steps") else facts.tokens,
            unique_tokens=facts.tokens,
            rows=facts.rows,
            unit=facts.unit,
            data_bytes=facts.memory_bytes,
            place=place,
            measured=measured,
            ladder=[Run(float(r.parameters), float(r.tokens), r.loss) for r in asked.ladder],
            budget_hours=asked.budget_hours,
            novelty=asked.novelty if asked.HasField("novelty") else None,
        )

    def _place(self, device: Device, full: TrainingRecipe) -> Place:
        return place_of(device, threads=full.threads, host_memory=self._host.memory_bytes)

    def _measured(self, tx: Tx, case: _Case, named: str) -> dict[bool, Measurement]:
        """Return the best measurement without and with adapters: the one named, of this shape, or of another one."""
        parent = f"projects/{project_of(case.versions[0].name)}"
        if named:
            jobs: Sequence[TrainingJob] = [tx.get(named, TrainingJob)]
        else:
            jobs = tx.newest(TrainingJob, parent, _JOBS_LOOKED_AT)
        found: dict[bool, Measurement] = {}
        for job in jobs:
            has_adapters = job.recipe.HasField("lora")
            if job.status.state != JobState.JOB_STATE_SUCCEEDED:
                continue
            base = tx.find(job.base_model_version, ModelVersion)
            is_same = is_same_shape(case.recipe, case.base, job, base)
            known = found.get(has_adapters)
            if known is not None and (known.is_same_shape or not is_same):
                continue
            rates = [p.value for p in self._runtime.query(tx, job.name, [_RATE], _METRIC_POINTS)]
            made = measurement_of(job, rates, is_same=is_same, is_named=bool(named))
            if made is not None:
                found[has_adapters] = made
        if named and not found:
            raise InvalidRequest(
                f"calibration_job {named} has not succeeded or measured less than three steps", field="calibration_job"
            )
        for one, other in ((True, False), (False, True)):  # a run of the other kind is better than a table
            if one not in found and other in found:
                found[one] = _of_another_shape(found[other])
        return found

    async def _config(self, base: ModelVersion) -> Mapping[str, Any]:
        blobs = Blobs(self._objects, project_of(base.name))

        def read() -> bytes:
            return blobs.get_bytes(read_manifest(blobs, base.manifest).file("config.json").ref)

        return _parsed((await asyncio.to_thread(read)).decode())


def _of_another_shape(known: Measurement) -> Measurement:
    return Measurement(known.job, known.tokens_per_second, known.flops_per_token, 0, is_same_shape=False)


def _calibrated(situation: Situation, made: Forecast) -> Forecast:
    """Let a measured peak of the same shape stand where it is above the modelled one: a short run sees less."""
    known, memory = situation.measured.get(situation.rank > 0), made.memory
    if known is not None and known.is_same_shape and known.peak_memory_bytes > memory.total:
        memory.runtime += known.peak_memory_bytes - memory.total
        memory.total = known.peak_memory_bytes
        memory.fits = memory.total <= situation.place.memory_bytes
    return made


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"config_json is not valid JSON: {error}", field="config_json") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"config_json must hold an object; got {type(value).__name__}", field="config_json")
    return value


def _assumptions(s: Situation) -> list[str]:
    known = s.measured.get(s.rank > 0)
    factor, said = BASES[known.basis if known else max(BASES)]
    text = said.format(job=known.job if known else "", kind=s.place.kind, utilization=s.place.utilization)
    told = [f"Throughput is {text}; the time may come out {factor:g} times shorter or longer."]
    if s.unit != "tokens":
        told.append("Tokens are a quarter of the bytes, since these rows are tokenized at training time.")
    if not s.place.on_cpu:
        told.append(
            "The trainer here computes on CPUs; figures for accelerators are arithmetic for weights shared by all "
            "devices (FSDP), without the cost of their talking to each other."
        )
    elif s.place.count > 1:
        told.append("A job runs on one machine; figures for several are divided by their number.")
    if s.has_base:
        told.append("The loss after training from a base model is not foretold; a probe measures it.")
    return told
