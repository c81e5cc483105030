"""Scoring branches of a prefix that is read once."""

from __future__ import annotations

import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.load import load_model
from bessemer.modeling.score import score, score_branches

from tests.fixtures.tiny_model import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(make_tiny_model(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_branches_have_the_scores_of_their_whole_sequences(model, batch_tokens):
    generator = torch.Generator().manual_seed(0)

    def ids(length):
        return torch.randint(3, 200, (length,), generator=generator).tolist()

    groups = [(ids(1), [ids(1), ids(3)]), (ids(150), [ids(5), ids(1), ids(7)]), (ids(9), [ids(2)])]
    found = score_branches(model, groups, batch_tokens=batch_tokens)
    for (prefix, branches), values in zip(groups, found, strict=True):
        for branch, value in zip(branches, values, strict=True):
            (expected,) = score(model, [prefix + branch], starts=[len(prefix)])
            assert value.shape == (len(branch),)
            torch.testing.assert_close(value, expected, atol=2e-5, rtol=1e-5)


def test_branches_beyond_the_context_are_refused(model):
    with pytest.raises(InvalidRequest, match="context"):
        score_branches(model, [([5] * model.config.context_length, [[6]])])
