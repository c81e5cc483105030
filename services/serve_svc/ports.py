"""What serving needs from outside: an engine, the weights, and what other services know or take."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_job_service_pb2 import CreateDatasetJobRequest
from bessemer.api.data.v1.feedback_service_pb2 import FeedbackCounts, FeedbackRecord
from bessemer.api.eval.v1.audit_service_pb2 import AuditRunsRequest, RunAudit
from bessemer.api.eval.v1.drift_pb2 import DriftRow
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationRun, GateDecision
from bessemer.api.eval.v1.evaluation_service_pb2 import CreateEvaluationRunRequest, DecideGateRequest
from bessemer.api.eval.v1.gate_policy_pb2 import GatePolicy, GateWaiver
from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.api.serve.v1.loop_pb2 import Loop, LoopRound
from bessemer.api.train.v1.model_pb2 import ModelJob, ModelVersion
from bessemer.api.train.v1.training_job_pb2 import TrainingJob
from bessemer.api.train.v1.training_service_pb2 import CreateTrainingJobRequest

from serve_svc.domain.loops import Release
from serve_svc.engine.protocol import Embedded, Piece, Prompt, Sampling, Scored, Tokenized
from serve_svc.engine.tensor_protocol import Spec, Tensor

__all__ = [
    "Catalog",
    "DriftSink",
    "Engine",
    "Engines",
    "FeedbackSink",
    "LoopWork",
    "ModelFiles",
    "Releases",
    "Servers",
    "TensorEngines",
    "Uploads",
]


class Engine(Protocol):
    """A loaded model that answers."""

    @property
    def context_length(self) -> int:
        """Longest prompt and answer together, in tokens."""

    @property
    def capacity(self) -> int:
        """How many answers it gives together; 0 if nobody knows."""

    @property
    def kind(self) -> str:
        """What computes: `openvino`, `torch`, `openai_http` or `onnxruntime`."""

    @property
    def precision(self) -> str:
        """Number format it computes in: `fp32`, `bf16` or `int8`; empty if nobody tells."""

    @property
    def tool_format(self) -> str:
        """How the model writes calls of tools, a name of `engine.tools.FORMATS`."""

    def generate(
        self, prompt: Prompt, sampling: Sampling, request_id: str = "", adapter: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer; closing the generator early frees the slot. `request_id` is what `abort` takes.

        `adapter` is a name that `load_adapter` gave; empty asks the bare model.

        Raises: InvalidRequest; LimitReached when too many wait; Unavailable when the engine ends meanwhile;
        Unimplemented for what this engine cannot do.
        """

    async def load_adapter(self, name: str, folder: str) -> None:
        """Take in low-rank adapters in PEFT format under a name.

        Raises: InvalidRequest if they do not fit the model; FailedPrecondition if this engine takes none; Unavailable.
        """

    async def unload_adapter(self, name: str) -> None:
        """Forget adapters; a name that is not loaded is ignored.

        Raises: FailedPrecondition RESOURCE_IN_USE while answers are given with them; Unavailable.
        """

    async def abort(self, request_id: str) -> None:
        """End an answer, whose last piece then finishes with `abort`; an unknown one is ignored."""

    async def count_tokens(self, prompt: Prompt) -> int:
        """Return the number of tokens of a rendered prompt."""

    async def tokenize(self, prompt: Prompt) -> Tokenized:
        """Return the tokens of a rendered prompt."""

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens.

        Raises: InvalidRequest for a number that is no token.
        """

    async def score(self, prompt: Prompt, continuations: Sequence[str], logprobs: int) -> Scored:
        """Return the log-probabilities of continuations, with so many alternatives at each place.

        Raises: InvalidRequest; LimitReached; Unavailable.
        """

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return one vector per text.

        Raises: InvalidRequest; LimitReached; Unavailable.
        """

    def tensors(self) -> tuple[Sequence[Spec], Sequence[Spec]]:
        """Return what the model takes and gives as tensors.

        Raises: Unimplemented where it answers prompts.
        """

    async def infer(self, tensors: Sequence[Tensor], wanted: Sequence[str]) -> Sequence[Tensor]:
        """Compute the tensors that are wanted, or all, of others.

        Raises: InvalidRequest for what the model does not take; Unimplemented; LimitReached; Unavailable.
        """

    async def responds(self, timeout_s: float) -> bool:
        """Say whether the engine's loop answers in time."""

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the engine has ended, at most so long, and say whether it has."""

    async def close(self) -> None:
        """End the engine; answers in flight end with Unavailable."""


class Engines(Protocol):
    """Starts engines."""

    async def start(self, deployment: str, folder: Path, precision: str) -> Engine:
        """Load the model of a folder for a deployment, in a number format or, if empty, in the one that suits.

        Raises: InvalidRequest or FailedPrecondition if the model cannot be served; Internal if the engine ends.
        """


class TensorEngines(Protocol):
    """Starts engines for tensors."""

    async def start(self, deployment: str, folder: Path) -> Engine:
        """Load the ONNX model of a folder.

        Raises: FailedPrecondition if it cannot be served; Internal if the engine ends.
        """


class Servers(Protocol):
    """Inference servers that somebody else runs."""

    @property
    def names(self) -> Sequence[str]:
        """What deployments may name."""

    async def connect(self, deployment: Deployment) -> Engine:
        """Return an engine for a deployment that names a server, once that has the model.

        Raises: Unavailable while the server is away; FailedPrecondition if it does not have the model.
        """


class ModelFiles(Protocol):
    """Weights on the local disk."""

    async def fetch(self, manifest: ArtifactRef) -> Path:
        """Return the folder that holds exactly the files of a manifest, verified.

        Raises: NotFound, DataLoss, LimitReached, Unavailable.
        """

    async def fetch_export(self, archive: ArtifactRef) -> Path:
        """Return a folder with the files of an exported archive.

        Raises: NotFound, DataLoss, LimitReached, Unavailable.
        """

    async def fetch_adapter(self, manifest: ArtifactRef) -> Path:
        """Return a folder with the adapters of a manifest, verified, without its weights.

        Raises: NotFound if it has none; DataLoss, LimitReached, Unavailable.
        """


class Catalog(Protocol):
    """What other services know about a model version."""

    async def get_model_version(self, name: str) -> ModelVersion:
        """Ask train_svc; `name` may end with an alias.

        Raises: NotFound, Unavailable.
        """

    async def get_model_job(self, name: str) -> ModelJob:
        """Ask train_svc.

        Raises: NotFound, Unavailable.
        """

    async def get_gate_decision(self, name: str) -> GateDecision:
        """Ask eval_svc.

        Raises: NotFound, Unavailable.
        """

    async def get_gate_waiver(self, name: str) -> GateWaiver:
        """Ask eval_svc.

        Raises: NotFound, Unavailable.
        """


class Uploads(Protocol):
    """Files that clients brought."""

    async def get(self, name: str) -> Upload:
        """Ask data_svc for an upload.

        Raises: NotFound, Unavailable.
        """


class FeedbackSink(Protocol):
    """Where feedback goes."""

    async def submit(self, project: str, record: FeedbackRecord) -> FeedbackRecord:
        """Hand a record to data_svc.

        Raises: InvalidRequest, Unavailable.
        """


class DriftSink(Protocol):
    """Where it is watched whether requests change."""

    async def monitors(self, project: str) -> Mapping[str, Sequence[str]]:
        """Return the names of a project's monitors by endpoint.

        Raises: Unavailable.
        """

    async def observe(self, monitor: str, rows: Sequence[DriftRow]) -> None:
        """Hand rows to a monitor of eval_svc.

        Raises: InvalidRequest, NotFound, Unavailable.
        """


class LoopWork(Protocol):
    """What other services do for a loop.

    Those that look return None for what is not there; those that make raise AlreadyExists for what is. All raise
    Unavailable, and what the service refuses with.
    """

    async def count(self, project: str, model_versions: Sequence[str]) -> FeedbackCounts:
        """Count what was said about answers of these versions."""

    async def dataset_job(self, name: str) -> DatasetJob | None:
        """Look for a dataset job."""

    async def create_dataset_job(self, request: CreateDatasetJobRequest) -> None:
        """Make a dataset job."""

    async def training_job(self, name: str) -> TrainingJob | None:
        """Look for a training job."""

    async def create_training_job(self, request: CreateTrainingJobRequest) -> None:
        """Make a training job."""

    async def evaluation_run(self, name: str) -> EvaluationRun | None:
        """Look for an evaluation run."""

    async def create_evaluation_run(self, request: CreateEvaluationRunRequest) -> None:
        """Make an evaluation run."""

    async def gate_policy(self, name: str) -> GatePolicy:
        """Ask for a policy; NotFound if there is none."""

    async def gate_decision(self, name: str) -> GateDecision | None:
        """Look for a decision."""

    async def decide_gate(self, request: DecideGateRequest) -> None:
        """Make a decision."""

    async def audit(self, request: AuditRunsRequest) -> RunAudit:
        """Ask for the audit of two runs."""


class Releases(Protocol):
    """How a version gets into service."""

    async def start(self, loop: Loop, current: LoopRound) -> None:
        """Put the new version of a round on its way.

        Raises: AlreadyExists; FailedPrecondition GATE_NOT_PASSED.
        """

    async def find(self, loop: Loop, current: LoopRound) -> Release | None:
        """Return how far the release of a round is; None if there is none."""

    async def is_settled(self, endpoint: str, *, besides: str) -> bool:
        """Say whether no version is on its way into service, but for the release with the id `besides`."""
