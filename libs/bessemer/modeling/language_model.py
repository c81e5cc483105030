"""What a language model is here: our own decoder, or any architecture of transformers behind the same interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from bessemer.modeling.config import MODEL_TYPES, ModelConfig
from bessemer.modeling.transformer import Transformer
from bessemer.modeling.transformers_config import TransformersConfig
from bessemer.modeling.transformers_model import TransformersModel

__all__ = ["LanguageConfig", "LanguageModel", "read_config"]

LanguageModel: TypeAlias = Transformer | TransformersModel
LanguageConfig: TypeAlias = ModelConfig | TransformersConfig


def read_config(raw: Mapping[str, Any]) -> LanguageConfig:
    """Read a parsed `config.json`: as our own decoder where it knows the type.

    Raises: InvalidRequest for types and settings that neither supports.
    """
    return ModelConfig.from_json(raw) if raw.get("model_type") in MODEL_TYPES else TransformersConfig.from_json(raw)
