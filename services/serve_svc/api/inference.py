"""InferenceService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.api.serve.v1.inference_service_pb2_grpc import InferenceServiceServicer

from serve_svc.app.inference import Inference, Part
from serve_svc.codec import finish_reason, floats, to_logprobs, to_prompt, to_sampling
from serve_svc.engine.protocol import Prompt, TokenLogprob

__all__ = ["InferenceApi"]


class InferenceApi(InferenceServiceServicer):
    """Answers over gRPC."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Generate(self, request: api.GenerateRequest, context: Any) -> api.GenerateResponse:
        """Generate an answer."""
        answer = api.GenerateResponse()
        texts: list[str] = []
        parts = self._parts(request)
        async with aclosing(parts):
            async for part in parts:
                texts.append(part.piece.text)
                answer.token_ids.extend(part.piece.token_ids)
                answer.logprobs.extend(to_logprobs(part.piece.logprobs))
                _add_calls(answer, part)
        answer.response_id, answer.model_version, answer.text = part.response_id, part.model_version, "".join(texts)
        answer.finish_reason = finish_reason(part.piece.finish)
        answer.usage.prompt_tokens = part.piece.prompt_tokens
        answer.usage.completion_tokens = part.piece.completion_tokens
        return answer

    async def StreamGenerate(
        self, request: api.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[api.StreamGenerateResponse]:
        """Generate an answer piece by piece; cancelling frees the slot."""
        parts = self._parts(request)
        async with aclosing(parts):
            async for part in parts:
                piece = part.piece
                message = api.StreamGenerateResponse(
                    response_id=part.response_id,
                    model_version=part.model_version,
                    text_delta=piece.text,
                    token_ids=piece.token_ids,
                    finish_reason=finish_reason(piece.finish),
                    tool_calls=[
                        api.ToolCallDelta(index=call.index, id=call.id, name=call.name, arguments=call.arguments)
                        for call in part.calls
                    ],
                    logprobs=to_logprobs(piece.logprobs),
                )
                if piece.finish:
                    message.usage.prompt_tokens = piece.prompt_tokens
                    message.usage.completion_tokens = piece.completion_tokens
                yield message

    async def CountTokens(self, request: api.CountTokensRequest, context: Any) -> api.CountTokensResponse:
        """Count the tokens of a prompt."""
        return api.CountTokensResponse(
            tokens=await self._inference.count_tokens(request.target, to_prompt(request.prompt))
        )

    async def Tokenize(self, request: api.TokenizeRequest, context: Any) -> api.TokenizeResponse:
        """Give the tokens of a prompt as the model reads them."""
        found = await self._inference.tokenize(request.target, to_prompt(request.prompt))
        return api.TokenizeResponse(token_ids=found.token_ids, tokens=map(bytes.fromhex, found.hexes))

    async def Detokenize(self, request: api.DetokenizeRequest, context: Any) -> api.DetokenizeResponse:
        """Give the text of tokens."""
        return api.DetokenizeResponse(text=await self._inference.detokenize(request.target, request.token_ids))

    async def Score(self, request: api.ScoreRequest, context: Any) -> api.ScoreResponse:
        """Give the log-probabilities of continuations of a prompt."""
        prompt = to_prompt(request.prompt) if request.HasField("prompt") else Prompt()
        scored, version = await self._inference.score(
            request.target, prompt, request.continuations, request.top_logprobs
        )
        response = api.ScoreResponse(
            continuations=[
                api.ScoredContinuation(
                    logprob=sum(entry.logprob or 0.0 for entry in entries),
                    tokens=to_logprobs(entries),
                    is_greedy=_is_greedy(entries),
                )
                for entries in scored.continuations
            ],
            model_version=version,
        )
        response.usage.prompt_tokens = scored.prompt_tokens
        response.usage.completion_tokens = sum(map(len, scored.continuations))
        return response

    async def Embed(self, request: api.EmbedRequest, context: Any) -> api.EmbedResponse:
        """Give one vector per text."""
        embedded, version = await self._inference.embed(request.target, request.texts)
        vectors = [api.Embedding(values=floats(vector)) for vector in embedded.vectors]
        return api.EmbedResponse(
            embeddings=vectors, model_version=version, usage=api.Usage(prompt_tokens=embedded.tokens)
        )

    async def AbortRequest(self, request: api.AbortRequestRequest, context: Any) -> api.AbortRequestResponse:
        """End an answer of one's own."""
        return api.AbortRequestResponse(aborted=await self._inference.abort(request.target, request.response_id))

    def _parts(self, request: api.GenerateRequest | api.StreamGenerateRequest) -> AsyncGenerator[Part, None]:
        return self._inference.generate(
            request.target,
            to_prompt(request.prompt),
            to_sampling(request.sampling, request.prompt),
            user=request.user,
            adapter=request.adapter,
            single_tool_call=request.prompt.single_tool_call,
        )


def _add_calls(answer: api.GenerateResponse, part: Part) -> None:
    for delta in part.calls:
        if delta.index == len(answer.tool_calls):
            answer.tool_calls.add(id=delta.id, name=delta.name)
        answer.tool_calls[delta.index].arguments += delta.arguments


def _is_greedy(entries: tuple[TokenLogprob, ...]) -> bool:
    scored = [entry for entry in entries if entry.logprob is not None]
    return all(entry.top and entry.top[0].token_id == entry.token_id for entry in scored)
