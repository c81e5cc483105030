"""Shape of any model that transformers has a class for: what the rest asks of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.config import ids_of

__all__ = ["ImageInput", "TransformersConfig", "net_class", "parse_config"]

# Settings that name code, kernels to fetch, or weights in another format; refused at any depth.
_FOREIGN = ("auto_map", "custom_pipelines", "quantization_config", "trust_remote_code")
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation", "use_kernels", "kernel_config")
# Models with a class of their own that transformers' map of causal language models does not name.
_CAUSAL = {"mistral4": "Mistral4ForCausalLM"}
# How the vision parts take pixels: with the sizes of images, as a stack, or as a stack per sequence.
_IMAGE_FORMS = {"mistral3": "sized", "llava": "stacked", "smolvlm": "nested", "idefics3": "nested"}
# How hard to press for an even load where the class has no loss of its own for it.
_BALANCE = 0.1
_ENDLESS = 1 << 20  # context of models that state none
_MEAN, _STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)  # of CLIP, which most start from


@dataclass(frozen=True)
class ImageInput:
    """How images go in: resized to a square of `size` pixels, normalised, and standing for the token `token_id`."""

    token_id: int
    size: int
    side: int
    form: str
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD

    @property
    def num_tokens(self) -> int:
        """How many tokens stand for an image: a square of `side`, read line by line."""
        return self.side**2


@dataclass(frozen=True)
class TransformersConfig:
    """What is asked of a `ModelConfig`, of any architecture; `raw` is the file as it was read."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    context_length: int
    tie_embeddings: bool
    num_experts: int
    num_chosen: int
    balance: float
    eos_ids: frozenset[int]
    image: ImageInput | None
    raw: Mapping[str, Any] = field(compare=False, repr=False)

    @cached_property
    def _counts(self) -> tuple[int, int]:
        import torch

        with torch.device("meta"):
            net = net_class(self.model_type)(parse_config(self.raw))
        total = sparse = 0
        for name, parameter in net.named_parameters():
            total += parameter.numel()
            if ".experts." in name:
                sparse += parameter.numel()
        idle = 1 - self.num_chosen / self.num_experts if self.num_experts else 0.0
        return total, total - round(sparse * idle)

    @property
    def has_experts(self) -> bool:
        """Whether tokens choose among experts."""
        return self.num_experts > 0

    @property
    def num_parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        return self._counts[0]

    @property
    def num_active_parameters(self) -> int:
        """Number of weights that one token meets: of the experts only the chosen ones."""
        return self._counts[1]

    def step_flops(self, lengths: Sequence[int], *, trains_all: bool = True) -> float:
        """Floating-point operations of training on documents of these lengths, with heads of the usual width."""
        matmul = self.num_active_parameters - (0 if self.tie_embeddings else self.vocab_size * self.hidden_size)
        pairs = sum(n * n for n in lengths) / 2
        return (6.0 if trains_all else 4.0) * matmul * sum(lengths) + 12.0 * self.num_layers * self.hidden_size * pairs

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> TransformersConfig:
        """Read a parsed `config.json`.

        Raises: InvalidRequest for types that transformers has no class for, for code references, and for settings that
        the class refuses; FailedPrecondition without transformers.
        """
        _refuse_foreign(raw)
        model_type = str(raw.get("model_type"))
        net_class(model_type)
        parsed = parse_config(raw)
        text = parsed.get_text_config()
        if getattr(text, "final_logit_softcapping", None):
            raise _invalid("final_logit_softcapping is not supported", "final_logit_softcapping")
        experts = int(getattr(text, "num_local_experts", 0) or getattr(text, "num_experts", 0) or 0)
        chosen = int(getattr(text, "num_experts_per_tok", 0) or 0) if experts else 0
        stated = {**raw, **raw.get("text_config", {})}.get("router_aux_loss_coef", _BALANCE)
        return TransformersConfig(
            model_type=model_type,
            vocab_size=int(text.vocab_size),
            hidden_size=int(text.hidden_size),
            num_layers=int(text.num_hidden_layers),
            context_length=int(getattr(text, "max_position_embeddings", None) or _ENDLESS),
            tie_embeddings=bool(getattr(parsed, "tie_word_embeddings", False)),
            num_experts=experts,
            num_chosen=chosen,
            balance=float(stated) if experts else 0.0,
            eos_ids=ids_of(raw.get("eos_token_id")) or ids_of(getattr(text, "eos_token_id", None)),
            image=_image(model_type, parsed),
            raw=dict(raw),
        )


def parse_config(raw: Mapping[str, Any]) -> Any:
    """Return the configuration object of transformers.

    Raises: InvalidRequest if a setting does not fit.
    """
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[str(raw["model_type"])].from_dict(dict(raw))
    except Exception as error:  # noqa: BLE001 - validators of the library raise errors of many kinds
        raise _invalid(f"transformers refuses it: {str(error)[:200]}", "") from None


def net_class(model_type: str) -> Any:
    """Return the class with a language-model head for a model type.

    Raises: InvalidRequest if there is none; FailedPrecondition without transformers.
    """
    try:
        import transformers
        from transformers.models.auto import modeling_auto as auto
    except ImportError:
        raise FailedPrecondition(
            f"models of type {model_type} run on transformers; install bessemer[train]", reason="FIELD_INVALID"
        ) from None
    maps = (_CAUSAL, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    name = next((names[model_type] for names in maps if model_type in names), None)
    if not isinstance(name, str):
        raise _invalid(f"transformers has no language model with model_type {model_type!r}", "model_type")
    if name in _CAUSAL.values():  # such classes are not exported at the top
        module = __import__(f"transformers.models.{model_type}.modeling_{model_type}", fromlist=[name])
        return getattr(module, name)
    return getattr(transformers, name)


def _image(model_type: str, parsed: Any) -> ImageInput | None:
    form = _IMAGE_FORMS.get(model_type)
    if form is None:
        return None
    token: Any = getattr(parsed, "image_token_id", None)
    token = parsed.image_token_index if token is None else token
    vision = parsed.vision_config
    merged = getattr(parsed, "scale_factor", None) or getattr(parsed, "spatial_merge_size", None) or 1
    if getattr(parsed, "vision_feature_select_strategy", "default") != "default":
        raise _invalid("vision_feature_select_strategy must be default", "vision_feature_select_strategy")
    size = int(vision.image_size)
    return ImageInput(int(token), size, size // (int(vision.patch_size) * int(merged)), form)


def _refuse_foreign(raw: Mapping[str, Any]) -> None:
    for key in _keys(raw):
        if key in _FOREIGN or key.lstrip("_").removesuffix("_internal") in _IMPLEMENTATIONS:
            raise _invalid(f"{key} is not allowed: models must not bring code, kernels or quantised weights", key)


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _invalid(message: str, key: str) -> InvalidRequest:
    return InvalidRequest(f"config.json: {message}", field=f"config.json:{key}" if key else "config.json")
