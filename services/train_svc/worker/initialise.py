"""A model folder from a configuration and a tokenizer, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bessemer.artifacts.manifest import JSON
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.config import ids_of
from bessemer.modeling.initialise import INITIALISATION, initialise
from bessemer.modeling.language_model import read_config
from bessemer.modeling.load import save_model
from bessemer.modeling.tokenizer import Tokenizer

__all__ = ["make_model"]

# Tokens that end a text, by the names that tokenizers give them; the first that there is counts.
_ENDS = ("<|im_end|>", "<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>")
_CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_model(config: str, folder: Path, seed: int) -> dict[str, JSON]:
    """Complete `folder`, which holds `tokenizer.json`, to a model folder; return what to state about it.

    A tokenizer with the two tokens of ChatML gets its template, so that the model can be tuned on conversations later.
    Raises: InvalidRequest for configurations that are not supported or do not fit the tokenizer.
    """
    raw = _parse(config)
    tokenizer = Tokenizer.from_folder(folder)
    raw.setdefault("vocab_size", tokenizer.vocab_size)
    end = _complete(folder, tokenizer, raw)
    parsed = read_config(raw)
    if parsed.vocab_size < tokenizer.vocab_size:
        raise InvalidRequest(
            f"the tokenizer has {tokenizer.vocab_size} tokens, config.json only {parsed.vocab_size}; "
            "leave vocab_size out",
            field="model_job.init.config",
        )
    save_model(initialise(parsed, seed), folder)
    return {
        "initialisation": INITIALISATION,
        "seed": seed,
        "end_token": end,
        "active_parameters": parsed.num_active_parameters,
    }


def _parse(config: str) -> dict[str, Any]:
    try:
        raw = json.loads(config)
    except ValueError as error:
        raise InvalidRequest(f"config is not valid JSON: {error}", field="model_job.init.config") from None
    if not isinstance(raw, dict):
        raise InvalidRequest("config must be a JSON object", field="model_job.init.config")
    return raw


def _complete(folder: Path, tokenizer: Tokenizer, raw: dict[str, Any]) -> str:
    """Write the tokenizer's settings and name the token that ends a text, also in the configuration."""
    ids = {token: tokenizer.backend.token_to_id(token) for token in (*_ENDS, *_CHAT_TOKENS)}
    stated = next(iter(sorted(ids_of(raw.get("eos_token_id")))), None)
    end = next((token for token in _ENDS if ids[token] is not None), None)
    if stated is not None:
        end = tokenizer.backend.id_to_token(stated)
    if end is None:
        raise InvalidRequest(
            f"no token ends a text: the tokenizer has none of {', '.join(_ENDS)}; state eos_token_id",
            field="model_job.init.config",
        )
    raw["eos_token_id"] = tokenizer.backend.token_to_id(end)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "clean_up_tokenization_spaces": False}
    if all(ids[token] is not None for token in _CHAT_TOKENS):
        settings["chat_template"] = _CHAT_TEMPLATE
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return end
