"""A line of a batch: read as OpenAI's API takes it, answered, and written as OpenAI's batches have it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from bessemer.api.serve.v1.batch_inference_pb2 import BatchInferenceJob
from bessemer.kernel.errors import InvalidRequest, LimitReached, Unavailable
from bessemer.kernel.ids import id_of
from bessemer.svckit.validation import validate

from serve_svc.api.openai_answer import Collected, Shape, error_body, http_status, known_error
from serve_svc.api.openai_request import Ask, read_chat, read_completion, reseed
from serve_svc.app.batch_runner import Answered
from serve_svc.app.inference import Inference
from serve_svc.codec import to_prompt, to_sampling

__all__ = ["LineAnswers", "read_line"]

_READERS = {"/v1/chat/completions": read_chat, "/v1/completions": read_completion}


class LineAnswers:
    """Answers lines of batches."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def answer(self, job: BatchInferenceJob, number: int, line: bytes) -> Answered:
        """Answer a line; what is wrong with it becomes a line of the errors.

        Raises: Unavailable, LimitReached: it should be asked again.
        """
        custom_id, versions = str(number), set[str]()
        try:
            custom_id, chat, ask = read_line(job, number, line)
            answers = await self._choices(job, ask, versions)
        except (Unavailable, LimitReached):
            raise
        except Exception as error:  # noqa: BLE001 - one line must not keep the others from their answers
            known = known_error(error)
            return Answered(_line(number, custom_id, http_status(known), error_body(known)), refused=True)
        shape = Shape(chat, ask.model, int(time.time()), ask.num_choices, id=answers[0].response_id)
        shape.logprobs = ask.requests[0].sampling.HasField("top_logprobs")
        whole = shape.whole(answers)
        return Answered(
            _line(number, custom_id, 200, whole),
            prompt_tokens=whole["usage"]["prompt_tokens"],
            completion_tokens=whole["usage"]["completion_tokens"],
            model_version=min(versions),
        )

    async def _choices(self, job: BatchInferenceJob, ask: Ask, versions: set[str]) -> Sequence[Collected]:
        answers = []
        for request in ask.requests:
            request.target, request.adapter = job.endpoint, job.adapter
            validate(request, strict=True)
            seed = request.sampling.seed if request.sampling.HasField("seed") else None
            for number in range(ask.num_choices):
                reseed(request.sampling, seed, number)
                answer = Collected()
                parts = self._inference.generate(
                    request.target,
                    to_prompt(request.prompt),
                    to_sampling(request.sampling, request.prompt),
                    user=request.user,
                    adapter=request.adapter,
                    single_tool_call=request.prompt.single_tool_call,
                    live=False,
                )
                async with aclosing(parts):
                    async for part in parts:
                        answer.add(part)
                        versions.add(part.model_version)
                answers.append(answer)
        return answers


def read_line(job: BatchInferenceJob, number: int, line: bytes) -> tuple[str, bool, Ask]:
    """Return the caller's id of a request, whether it is a conversation, and the request.

    Raises: InvalidRequest naming the parameter.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"line {number + 1} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"line {number + 1} must be a JSON object")
    body = value.get("body", {key: each for key, each in value.items() if key != "custom_id"})
    if not isinstance(body, dict):
        raise InvalidRequest("body must be a JSON object", field="body")
    url = value.get("url") or f"/v1/{'completions' if 'prompt' in body else 'chat/completions'}"
    if url not in _READERS:
        raise InvalidRequest(f"url must be one of {', '.join(_READERS)}; got {str(url)[:100]!r}", field="url")
    short = f"{id_of(job.endpoint)}:{job.adapter}" if job.adapter else id_of(job.endpoint)
    if body.get("model") not in {None, short, job.endpoint}:
        text = f"this batch asks {short!r}; model must be that or absent, got {str(body['model'])[:100]!r}"
        raise InvalidRequest(text, field="model")
    ask = _READERS[url]({**body, "model": short})
    if ask.stream or ask.echo:
        raise InvalidRequest("stream and echo make no sense in a batch; leave them out", field="stream")
    return str(value.get("custom_id") or number), url == "/v1/chat/completions", ask


def _line(number: int, custom_id: str, status: int, body: dict[str, Any]) -> bytes:
    failed = status != 200
    value = {
        "id": f"batch_req_{number}",
        "custom_id": custom_id,
        "response": None if failed else {"status_code": status, "request_id": body["id"], "body": body},
        "error": {"status_code": status, **body["error"]} if failed else None,
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
