"""Which engine serves a model, and in which number format."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.modeling.config import ModelConfig, QueryKeyNorm
from bessemer.modeling.language_model import LanguageConfig

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine, and how it stores weights and computes: `fp32`, `bf16` or `int8`.

    `note` says what of the wish was not possible.
    """

    engine: str
    precision: str
    note: str = ""


def choose(config: LanguageConfig, wanted: str, *, multiplies_bf16: bool) -> Choice:
    """Choose for a model on a processor that does or does not multiply in bf16.

    `wanted` is a precision or empty, which takes bf16 where that is possible, fp32 elsewhere.
    """
    if not isinstance(config, ModelConfig) or config.experts is not None or config.qk_norm is QueryKeyNorm.ALL:
        note = f"{wanted} is not possible for {config.model_type}" if wanted not in ("", "fp32") else ""
        return Choice("torch", "fp32", note)
    if wanted == "bf16" and not multiplies_bf16:
        return Choice("openvino", "fp32", "this processor does not multiply in bf16")
    return Choice("openvino", wanted or ("bf16" if multiplies_bf16 else "fp32"))
