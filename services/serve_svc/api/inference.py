"""InferenceService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.api.serve.v1.inference_service_pb2_grpc import InferenceServiceServicer

from serve_svc.app.inference import Inference
from serve_svc.codec import finish_reason, to_prompt, to_sampling

__all__ = ["InferenceApi"]


class InferenceApi(InferenceServiceServicer):
    """Answers over gRPC."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Generate(self, request: api.GenerateRequest, context: Any) -> api.GenerateResponse:
        """Generate an answer."""
        answer = api.GenerateResponse()
        texts: list[str] = []
        parts = self._inference.generate(
            request.target, to_prompt(request.prompt), to_sampling(request.sampling), request.user
        )
        async with aclosing(parts):
            async for part in parts:
                texts.append(part.piece.text)
                answer.token_ids.extend(part.piece.token_ids)
        answer.response_id, answer.model_version, answer.text = part.response_id, part.model_version, "".join(texts)
        answer.finish_reason = finish_reason(part.piece.finish)
        answer.usage.prompt_tokens = part.piece.prompt_tokens
        answer.usage.completion_tokens = part.piece.completion_tokens
        return answer

    async def StreamGenerate(
        self, request: api.StreamGenerateRequest, context: Any
    ) -> AsyncIterator[api.StreamGenerateResponse]:
        """Generate an answer piece by piece; cancelling frees the slot."""
        parts = self._inference.generate(
            request.target, to_prompt(request.prompt), to_sampling(request.sampling), request.user
        )
        async with aclosing(parts):
            async for part in parts:
                piece = part.piece
                message = api.StreamGenerateResponse(
                    response_id=part.response_id,
                    model_version=part.model_version,
                    text_delta=piece.text,
                    token_ids=piece.token_ids,
                    finish_reason=finish_reason(piece.finish),
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
