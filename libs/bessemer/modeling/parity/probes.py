"""What two models are asked in order to tell whether they are the same.

Texts and conversations are chosen for what breaks tokenizers and templates in practice: digits, runs of spaces and line
ends, scripts without spaces, emoji, code, contractions, the model's own special tokens written out, turns that are
empty or end in spaces.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bessemer.kernel.errors import BessemerError
from bessemer.modeling.chat import Message

__all__ = ["Probes", "make_probes"]

TEXTS = (
    "What is the capital of France? The capital of France is Paris, a city of about two million people.",
    "In 2024, 1234567 parts at $3.50 each (12.5 % off) came to 3,600,000.00; that isn't what we'd agreed on.",
    "  leading spaces,\ttabs,\n\n\nthree line ends \r\n and a trailing one ",
    "Zoë's naïve café in Łódź; Οδυσσέας, Москва, שלום, مرحبا, हिन्दी, 東京都, 대한민국 🙂👩‍👩‍👧‍👦",
    'def f(x: int) -> str:\n    return f"{x:04d}"  # _x0 != "\\n"\n\n{"a": [1, null, true]}',
    "https://example.org/a?b=c&d=%20#e user@example.org CamelCaseWord snake_case_word --flag=value",
    (
        "The converter blows air through molten iron and burns the carbon out of it. Pressure, temperature and time "
        "decide the grain of the steel; water cools the mould, and the ladle pours the melt into the caster below it."
    ),
)
CONVERSATIONS: tuple[tuple[Message, ...], ...] = (
    ({"role": "user", "content": "What is the capital of France?"},),
    (
        {"role": "system", "content": "Answer in one short sentence."},
        {"role": "user", "content": "List 3 uses of iron in 2024."},
    ),
    (
        {"role": "user", "content": "Hi! I'm Zoë 🙂"},
        {"role": "assistant", "content": "Hello Zoë."},
        {"role": "user", "content": "  Why is\tthe sky blue?\n\n1234567 "},
    ),
    ({"role": "user", "content": ""},),
)
# A small task with known answers; how often the first choice is right does not matter here, only whether it stays.
QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Question: What is the capital of France?\nAnswer:", ("Paris", "Madrid", "Rome")),
    ("Question: How many days are in a week?\nAnswer:", ("seven", "five", "ten")),
    ("Question: What colour is fresh snow?\nAnswer:", ("white", "green", "black")),
    ("Question: Which metal rusts?\nAnswer:", ("iron", "gold", "silver")),
    ("Question: What do bees make?\nAnswer:", ("honey", "milk", "bread")),
    ("Question: At how many degrees Celsius does water boil?\nAnswer:", ("100", "50", "10")),
    ("Question: Which animal barks?\nAnswer:", ("a dog", "a fish", "a cow")),
    ("Question: Who wrote Hamlet?\nAnswer:", ("Shakespeare", "Goethe", "Dante")),
    ("Question: What is 7 + 5?\nAnswer:", ("12", "13", "9")),
    ("Question: Which planet do we live on?\nAnswer:", ("Earth", "Mars", "Saturn")),
    ("Question: What is the opposite of hot?\nAnswer:", ("cold", "red", "loud")),
    ("Question: Which language is spoken in Brazil?\nAnswer:", ("Portuguese", "Dutch", "Greek")),
)
_SEQUENCE_MAX = 192
_RANDOM_TOKENS = 64
_CONTINUED_TOKENS = 16
_PROMPTS = 3
_SEED = 20_240_607


@dataclass(frozen=True)
class Probes:
    """What to ask.

    `sequences` are token ids whose logits are compared, each at most as long as the context; `prompts` are ids to
    continue greedily; `questions` are ids of a prompt with those of its answers, the right one first.
    """

    texts: tuple[str, ...]
    conversations: tuple[tuple[Message, ...], ...]
    sequences: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...], ...]
    new_tokens: int
    questions: tuple[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], ...] = ()


def make_probes(
    *,
    encode: Callable[[str], Sequence[int]],
    render: Callable[[Sequence[Message]], Sequence[int]] | None,
    generate: Callable[[Sequence[int], int], Sequence[int]],
    special_tokens: Sequence[str],
    vocabulary_size: int,
    context_length: int,
    image_token: int | None = None,
) -> Probes:
    """Return the probes of a model, made with the reference: fixed texts, conversations, and what it says itself.

    `render` is None for a model without a chat template; `image_token` stands for an image, which no probe has.
    The same reference makes the same probes.
    """
    longest = min(_SEQUENCE_MAX, context_length)
    new_tokens = min(_CONTINUED_TOKENS, context_length // 2)
    texts = (*TEXTS, *(f"a{token}b {token}\n{token}{token}" for token in special_tokens))
    prompts = [ids for ids in (_render(render, turns) for turns in CONVERSATIONS) if ids] if render else []
    prompts = prompts or [tuple(encode(text)) for text in TEXTS]
    prompts = [ids[-(longest - new_tokens) :] for ids in prompts][:_PROMPTS]
    own = [(*ids, *generate(ids, new_tokens)) for ids in prompts]
    drawn = random.Random(_SEED)
    noise = tuple(drawn.randrange(vocabulary_size) for _ in range(min(_RANDOM_TOKENS, longest)))
    noise = tuple(token for token in noise if token != image_token)
    asked = [(tuple(encode(text)), tuple(tuple(encode(f" {one}")) for one in choices)) for text, choices in QUESTIONS]
    sequences = [*(tuple(encode(text))[:longest] for text in TEXTS), *own, noise]
    return Probes(
        texts=texts,
        conversations=CONVERSATIONS if render else (),
        sequences=tuple(ids for ids in sequences if len(ids) > 1),
        prompts=tuple(prompts),
        new_tokens=new_tokens,
        questions=tuple(
            (ids, choices)
            for ids, choices in asked
            if ids and all(choices) and len(ids) + max(map(len, choices)) <= longest
        ),
    )


def _render(render: Callable[[Sequence[Message]], Sequence[int]], turns: Sequence[Message]) -> tuple[int, ...]:
    try:
        return tuple(render(turns))
    except BessemerError:  # a template may refuse a system message or an empty turn
        return ()
