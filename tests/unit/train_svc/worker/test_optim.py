"""The optimiser against PyTorch's own clipping and AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from train_svc.worker.optim import Optimizer


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_clipped_steps_equal_clip_grad_norm_and_adamw(clip):
    drawn = [torch.randn(7, 5), torch.randn(5)]
    ours, theirs = ([nn.Parameter(x.clone()) for x in drawn] for _ in range(2))
    optimizer = Optimizer({"w": ours[0], "b": ours[1]}, weight_decay=0.1, clip_norm=clip)
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        norm = nn.utils.clip_grad_norm_(theirs, clip)
        assert optimizer.gradient_norm() == pytest.approx(float(norm), rel=1e-6)
        optimizer.step(0.01, float(norm))
        reference.step()
        for one, other in zip(ours, theirs, strict=True):
            assert (one - other).abs().max() <= 1e-6
