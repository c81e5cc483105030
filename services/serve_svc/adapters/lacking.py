"""What an engine cannot do, unless it says otherwise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from bessemer.kernel.errors import Unimplemented

from serve_svc.engine.protocol import Embedded, Piece, Prompt, Sampling, Scored, Tokenized
from serve_svc.engine.tensor_protocol import Spec, Tensor

__all__ = ["Lacking"]


class Lacking:
    """Refuses everything; engines inherit what they lack. `what` names the engine in the refusal."""

    what = "this endpoint"

    def generate(
        self,
        prompt: Prompt,  # noqa: ARG002
        sampling: Sampling,  # noqa: ARG002
        request_id: str = "",  # noqa: ARG002
        adapter: str = "",  # noqa: ARG002
    ) -> AsyncGenerator[Piece, None]:
        """Refuse."""
        raise self._lack("answers no prompts")

    async def abort(self, request_id: str) -> None:
        """Ignore: nothing runs that could be named."""

    async def load_adapter(self, name: str, folder: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise self._lack("takes no adapters")

    async def unload_adapter(self, name: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise self._lack("takes no adapters")

    async def count_tokens(self, prompt: Prompt) -> int:  # noqa: ARG002
        """Refuse."""
        raise self._lack("does not tell how many tokens a prompt has")

    async def tokenize(self, prompt: Prompt) -> Tokenized:  # noqa: ARG002
        """Refuse."""
        raise self._lack("shows no tokens")

    async def detokenize(self, token_ids: Sequence[int]) -> str:  # noqa: ARG002
        """Refuse."""
        raise self._lack("reads no tokens")

    async def score(self, prompt: Prompt, continuations: Sequence[str], logprobs: int) -> Scored:  # noqa: ARG002
        """Refuse."""
        raise self._lack("cannot score texts")

    async def embed(self, texts: Sequence[str]) -> Embedded:  # noqa: ARG002
        """Refuse."""
        raise self._lack("makes no vectors of texts")

    def tensors(self) -> tuple[Sequence[Spec], Sequence[Spec]]:
        """Refuse."""
        raise self._lack("takes no tensors")

    async def infer(self, tensors: Sequence[Tensor], wanted: Sequence[str]) -> Sequence[Tensor]:  # noqa: ARG002
        """Refuse."""
        raise self._lack("takes no tensors")

    def _lack(self, what: str) -> Unimplemented:
        return Unimplemented(f"{self.what} {what}; ask an endpoint with another engine")
