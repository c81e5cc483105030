"""Rows of several feeds in the proportions, caps and phases of a mixture; its state is one integer, as for any feed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.artifacts.mixture import components_of, phases_of, plan, rows_for, short_of, tokens_of
from bessemer.kernel.errors import FailedPrecondition

from train_svc.worker.feed import Feed, PreferenceFeed
from train_svc.worker.rows import Document, Row

__all__ = ["MixtureFeed", "PreferenceMixtureFeed"]

_LOG = logging.getLogger(__name__)


class MixtureFeed(Feed):
    """The rows of one run; each component goes on in its own order, pass by pass."""

    def __init__(self, mixture: Mixture, parts: Sequence[Feed], *, tokens_per_step: int, steps: int | None) -> None:
        """Plan a run of `steps`; without them, of as many tokens as the components hold.

        Raises: InvalidRequest if the caps do not allow that many steps, FailedPrecondition DATASET_EMPTY.
        """
        self._parts = tuple(parts)
        self._components = [
            replace(component, rows=len(part), tokens=part.num_tokens)
            for component, part in zip(components_of(mixture), parts, strict=True)
        ]
        phases = phases_of(mixture)
        self._rows_per_step = rows_for(self._components, phases, tokens_per_step)
        rows = (
            steps * self._rows_per_step
            if steps
            else rows_for(self._components, phases, sum(part.num_tokens for part in parts))
        )
        self._plan = plan(self._components, phases, rows)
        if steps and self._plan.rows_short:
            raise short_of(self._plan, self._components, "training_job.recipe.steps")
        if not len(self):
            raise FailedPrecondition(
                f"the mixture holds {len(self._plan)} rows, a step takes {self._rows_per_step}; "
                "lower recipe.tokens_per_step or mix in more data",
                reason="DATASET_EMPTY",
            )
        for source, rows, part in zip(mixture.components, self._plan.totals, parts, strict=True):
            _LOG.info("reads %d rows of %s, %.2f passes", rows, source.dataset_version, rows / len(part))

    def __len__(self) -> int:
        return len(self._plan) - len(self._plan) % self._rows_per_step

    @property
    def num_tokens(self) -> int:
        """Tokens of the run, about."""
        return tokens_of(self._plan, self._components)

    def rows_per_step(self, tokens_per_step: int) -> int:
        """Return how many rows hold about the tokens that the run was planned with."""
        del tokens_per_step
        return self._rows_per_step

    def take(self, position: int, count: int) -> list[Row]:
        """Return the rows at `position` and after; past the end of the plan it is read again."""
        places = self._places(range(position, position + count))
        rows: dict[tuple[int, int], Row] = {}
        for component in {component for component, _ in places}:
            numbers = [number for source, number in places if source == component]
            taken = self._parts[component].take(numbers[0], len(numbers))  # a component's numbers have no gaps
            rows |= {(component, number): row for number, row in zip(numbers, taken, strict=True)}
        return [rows[place] for place in places]

    def _places(self, positions: range) -> list[tuple[int, int]]:
        """Return component, and number in its own order, of rows of the run."""
        return [self._plan.at(position)[1:] for position in positions]


class PreferenceMixtureFeed(MixtureFeed):
    """A mixture of pairs; `reference` has to be set before the first row, as for one feed of pairs."""

    _parts: tuple[PreferenceFeed, ...]

    @property
    def pairs(self) -> list[tuple[Document, Document]]:
        """All pairs, component after component."""
        return [pair for part in self._parts for pair in part.pairs]

    @property
    def reference(self) -> npt.NDArray[np.float32] | None:
        """Log-probabilities of (chosen, rejected) answers under the reference model, [pairs, 2]."""
        known = [part.reference for part in self._parts if part.reference is not None]
        return np.concatenate(known) if known else None

    @reference.setter
    def reference(self, values: npt.NDArray[np.float32]) -> None:
        for part, begin in zip(self._parts, self._offsets, strict=True):
            part.reference = values[begin : begin + len(part.pairs)]

    def pairs_before(self, position: int) -> list[int]:
        """Return the numbers of the pairs that rows before `position` hold, each once."""
        reach = [0] * len(self._parts)
        for component, number in self._places(range(position)):
            reach[component] = number + 1
        parts = zip(self._parts, reach, self._offsets, strict=True)
        return [begin + number for part, end, begin in parts for number in part.pairs_before(end)]

    @property
    def _offsets(self) -> list[int]:
        return list(accumulate((len(part.pairs) for part in self._parts[:-1]), initial=0))
