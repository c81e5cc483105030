"""Random weights for a model that is to be trained from scratch."""

from __future__ import annotations

import math

import torch

from bessemer.modeling.config import ModelConfig
from bessemer.modeling.language_model import LanguageConfig, LanguageModel
from bessemer.modeling.transformer import Transformer
from bessemer.modeling.transformers_config import TransformersConfig
from bessemer.modeling.transformers_model import TransformersModel

__all__ = ["INITIALISATION", "SPREAD", "initialise"]

INITIALISATION = "normal(0, initializer_range), maps into the residual stream / sqrt(2 * layers), norms 1, biases 0"
SPREAD = 0.02  # what transformers takes where a file is silent
_INTO_RESIDUAL = ("output.weight", "mlp.down.weight")


@torch.no_grad()
def initialise(config: LanguageConfig, seed: int) -> LanguageModel:
    """Return a model in fp32 whose weights depend on the configuration and the seed alone.

    Maps into the residual stream are smaller, so that its variance does not grow with depth.
    Source: Radford et al. 2019 (GPT-2), section 2.3. Models of transformers are drawn as their class does it.
    """
    if isinstance(config, TransformersConfig):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TransformersModel.create(config)
    return _initialise_own(config, seed)


def _initialise_own(config: ModelConfig, seed: int) -> Transformer:
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    spread = float(config.raw.get("initializer_range", SPREAD))
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            shrink = math.sqrt(2 * config.num_layers) if name.endswith(_INTO_RESIDUAL) else 1.0
            parameter.normal_(std=spread / shrink, generator=generator)
    return model.eval()
