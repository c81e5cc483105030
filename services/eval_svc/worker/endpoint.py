"""An endpoint under test, asked as any client asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.api.serve.v1.inference_service_pb2_grpc import InferenceServiceStub
from bessemer.kernel.errors import FailedPrecondition
from bessemer.svckit.status import from_rpc_error

from eval_svc.domain.cases import Message

__all__ = ["Answer", "Endpoint", "Prompt"]

Prompt = str | Sequence[Message]
T = TypeVar("T")
R = TypeVar("R")
# Requests at once; the engine batches them, and more would only wait there.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an endpoint said; `logprobs` holds one value per token, in nats, if they were asked for."""

    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    stopped: bool
    prompt_tokens: int


class Endpoint:
    """The endpoint `target`, which must answer with the model `version`."""

    def __init__(self, channel: grpc.Channel, target: str, version: str) -> None:
        self._stub, self._target, self._version = InferenceServiceStub(channel), target, version

    def tokenize(self, prompt: Prompt) -> list[int]:
        """Return the tokens the endpoint makes of a prompt."""
        return list(self._call(self._stub.Tokenize, api.TokenizeRequest, prompt=_prompt(prompt)).token_ids)

    def generate(self, prompt: Prompt, *, max_tokens: int, stop: Sequence[str] = (), logprobs: bool = False) -> Answer:
        """Return what the endpoint says, the likeliest token at every step.

        Raises: InvalidRequest if it refuses the prompt; FailedPrecondition if another version answers.
        """
        sampling = api.SamplingParams(max_tokens=max_tokens, temperature=0.0, stop=stop)
        if logprobs:
            sampling.top_logprobs = 1
        said = self._call(self._stub.Generate, api.GenerateRequest, prompt=_prompt(prompt), sampling=sampling)
        self._check(said.model_version)
        return Answer(
            text=said.text,
            token_ids=list(said.token_ids),
            logprobs=[each.logprob for each in said.logprobs],
            stopped=said.finish_reason == api.FINISH_REASON_STOP,
            prompt_tokens=said.usage.prompt_tokens,
        )

    def score(self, prompt: Prompt | None, continuations: Sequence[str]) -> list[api.ScoredContinuation]:
        """Return how likely the endpoint finds texts after a prompt, or by themselves."""
        fields: dict[str, Any] = {"continuations": continuations} | (
            {} if prompt is None else {"prompt": _prompt(prompt)}
        )
        said = self._call(self._stub.Score, api.ScoreRequest, **fields)
        self._check(said.model_version)
        return list(said.continuations)

    @staticmethod
    def each(ask: Callable[[T], R], given: Iterable[T]) -> list[R]:
        """Ask for several things at once and return the answers in order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(ask, given))

    def _call(self, method: Callable[[Any], Any], request: Callable[..., Any], **fields: Any) -> Any:
        try:
            return method(request(target=self._target, **fields))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def _check(self, version: str) -> None:
        if version != self._version:
            raise FailedPrecondition(
                f"{self._target} answered with {version}, not {self._version}; traffic changed during the run, so run "
                "it again when it rests",
                reason="FIELD_INVALID",
                resource=self._target,
            )


def _prompt(prompt: Prompt) -> api.Prompt:
    if isinstance(prompt, str):
        return api.Prompt(text=prompt)
    return api.Prompt(messages=[api.ChatMessage(role=turn.role, content=turn.content) for turn in prompt])
