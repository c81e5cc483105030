"""The model under test with its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer

from eval_svc.config import PREVIEW_CHARACTERS
from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult, Mark

__all__ = ["Subject", "marked", "preview", "unscored"]


@dataclass(frozen=True)
class Subject:
    """A loaded model; `opening` is what its tokenizer puts before every text, often nothing."""

    model: LanguageModel
    tokenizer: Tokenizer
    opening: tuple[int, ...]

    @staticmethod
    def load(folder: Path) -> Subject:
        """Load a model folder in fp32, so that scores do not depend on the machine."""
        tokenizer = Tokenizer.from_folder(folder)
        around = tokenizer.encode("", special=True)
        return Subject(load_model(folder), tokenizer, tuple(t for t in around[:1] if t not in tokenizer.eos_ids))

    @property
    def context_length(self) -> int:
        """Most tokens the model can look at."""
        return self.model.config.context_length

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text from its beginning."""
        return [*self.opening, *self.tokenizer.encode(text)]

    def encode_prompt(self, case: Case) -> list[int]:
        """Return the ids of a prompt: plain text as it stands, messages through the chat template.

        Raises: FailedPrecondition if the model has no chat template; InvalidRequest if it refuses the messages.
        """
        if isinstance(case.prompt, str):
            return self.encode(case.prompt)
        if not self.tokenizer.has_chat_template:
            raise FailedPrecondition(
                "a suite of conversations needs a model with a chat template; evaluate a chat model, "
                "or use a suite whose prompts are plain text",
                reason="FIELD_INVALID",
            )
        return self.tokenizer.render_chat(
            [{"role": turn.role, "content": turn.content} for turn in case.prompt], add_generation_prompt=True
        )


def preview(case: Case) -> str:
    """Return the beginning of what a case asks, the newest turn of a conversation."""
    text = case.text or (case.prompt if isinstance(case.prompt, str) else case.prompt[-1].content)
    return text[:PREVIEW_CHARACTERS]


def unscored(case: Case, reason: str) -> CaseResult:
    """Return the result of a case that cannot be scored."""
    return CaseResult(
        id=case.id,
        cluster=case.cluster,
        score=None,
        target=case.target,
        prompt_preview=preview(case),
        unscored=reason,
    )


def marked(case: Case, output: str, mark: Mark, *, tokens: int) -> CaseResult:
    """Return the result of a case whose answer was marked; `tokens` are those of prompt and answer."""
    return CaseResult(
        id=case.id,
        cluster=case.cluster,
        score=mark.score,
        output=output.strip(),
        target=case.target,
        prompt_preview=preview(case),
        tokens=tokens,
        bytes=len(output.encode()),
        unscored=mark.reason if mark.score is None else "",
        error="" if mark.score is None else mark.reason,
    )
