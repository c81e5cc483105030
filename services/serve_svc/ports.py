"""What serving needs from outside: an engine, the weights, and what other services know or take."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.feedback_service_pb2 import FeedbackRecord
from bessemer.api.eval.v1.drift_pb2 import DriftRow
from bessemer.api.eval.v1.evaluation_pb2 import GateDecision
from bessemer.api.eval.v1.gate_policy_pb2 import GateWaiver
from bessemer.api.train.v1.model_pb2 import ModelVersion

from serve_svc.engine.protocol import Embedded, Piece, Prompt, Sampling, Scored, Tokenized

__all__ = ["Catalog", "DriftSink", "Engine", "Engines", "FeedbackSink", "ModelFiles"]


class Engine(Protocol):
    """A loaded model that answers."""

    @property
    def context_length(self) -> int:
        """Longest prompt and answer together, in tokens."""

    @property
    def kind(self) -> str:
        """What computes: `openvino` or `torch`."""

    @property
    def precision(self) -> str:
        """Number format it computes in: `fp32`, `bf16` or `int8`."""

    @property
    def tool_format(self) -> str:
        """How the model writes calls of tools, a name of `engine.tools.FORMATS`."""

    def generate(self, prompt: Prompt, sampling: Sampling, request_id: str = "") -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer; closing the generator early frees the slot. `request_id` is what `abort` takes.

        Raises: InvalidRequest; LimitReached when too many wait; Unavailable when the engine ends meanwhile.
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


class ModelFiles(Protocol):
    """Weights on the local disk."""

    async def fetch(self, manifest: ArtifactRef) -> Path:
        """Return the folder that holds exactly the files of a manifest, verified.

        Raises: NotFound, DataLoss, LimitReached, Unavailable.
        """


class Catalog(Protocol):
    """What other services know about a model version."""

    async def get_model_version(self, name: str) -> ModelVersion:
        """Ask train_svc; `name` may end with an alias.

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
