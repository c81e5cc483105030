"""Model folders as subjects of a comparison: read with their tokenizer, computed by our own decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bessemer.modeling.chat import Message
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.load import load_model, read_json
from bessemer.modeling.parity.compare import Array, Special
from bessemer.modeling.parity.probes import Probes, make_probes
from bessemer.modeling.score import pack_positions
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformers_config import TransformersConfig

__all__ = ["FolderText", "TorchSubject", "probes_of"]

_SETTINGS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size", "do_sample")


class FolderText:
    """How a folder with `tokenizer.json` and its settings reads and where it stops."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_folder(folder)
        generation = folder / "generation_config.json"
        stated = read_json(generation) if generation.is_file() else {}
        self._generation = {key: float(stated[key]) for key in _SETTINGS if stated.get(key) is not None}
        self._begin = self.tokenizer.begin_id

    def vocabulary(self) -> Sequence[str]:
        """Return the token of every id."""
        backend = self.tokenizer.backend
        return [backend.id_to_token(i) or "" for i in range(self.tokenizer.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text and nothing around it."""
        return self.tokenizer.encode(text)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a text with what the tokenizer puts around texts."""
        return self.tokenizer.encode(text, special=True)

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
        """Return the ids of a conversation.

        Raises: InvalidRequest if the template refuses it.
        """
        return self.tokenizer.render_chat(messages, add_generation_prompt)

    def special(self) -> Special:
        """Return the special tokens and the sampling settings."""
        return Special(self._begin, self.tokenizer.eos_ids, self._generation)


class TorchSubject(FolderText):
    """A folder computed in fp32 by our own code, or by the model that is given."""

    def __init__(self, folder: Path, model: LanguageModel | None = None) -> None:
        super().__init__(folder)
        self.model = load_model(folder) if model is None else model
        self.runtime = f"torch {torch.__version__.partition('+')[0]}"

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Array:
        """Return the logits after each token, [T, V]."""
        row = torch.tensor(ids)
        hidden = self.model(row, pack_positions([len(ids)]), [len(ids)])
        return self.model.logits(hidden).float().numpy().astype(np.float32, copy=False)

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Return the greedy continuation."""
        ends = self.tokenizer.eos_ids
        return generate_greedy(self.model, [list(ids)], max_new_tokens=new_tokens, stop=ends)[0]


def probes_of(reference: TorchSubject) -> Probes:
    """Return what to ask a candidate that should be the same as this model."""
    tokenizer, config = reference.tokenizer, reference.model.config
    image = config.image if isinstance(config, TransformersConfig) else None
    added = tokenizer.backend.get_added_tokens_decoder()
    return make_probes(
        encode=tokenizer.encode,
        render=tokenizer.render_chat if tokenizer.has_chat_template else None,
        generate=reference.generate,
        special_tokens=[added[i].content for i in sorted(added)],
        vocabulary_size=min(tokenizer.vocab_size, config.vocab_size),
        context_length=config.context_length,
        image_token=None if image is None else image.token_id,
    )
