"""How many rows of each dataset version a run reads, phase by phase, and in which order.

Shares are shares of tokens; a plan is made of whole rows. Quotas are rounded by largest remainder, so sums are exact.
Where a cap binds, the component keeps its cap, spread over the phases as it was, and the others of each phase share the
rest in proportion to their weights, until no cap is passed. Integers all through: the same plan on every machine.
Four passes is the default cap: up to there repeated tokens are worth about as much as new ones, and their worth has
mostly decayed after sixteen (Muennighoff et al. 2023, sections 5 and 6).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

from google.protobuf import json_format

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.interleave import Interleave
from bessemer.artifacts.manifest import canonical_json
from bessemer.kernel.errors import DataLoss, InvalidRequest

__all__ = [
    "EPOCHS_MAX",
    "MIXTURE_ORDER",
    "Cap",
    "Component",
    "Phase",
    "Plan",
    "components_of",
    "phases_of",
    "plan",
    "read_mixture",
    "rows_for",
    "short_of",
    "tokens_of",
    "write_mixture",
]

MEDIA_TYPE = "application/vnd.bessemer.mixture+json"
MIXTURE_ORDER = "huffman-beatty/1"  # changes whenever the same mixture would be read in another order
EPOCHS_MAX = 4.0
_UNIT = 1 << 128  # a share of 1; fine enough to tell apart weights of 1e-9 beside one of 1e6
_CONTENT = ("components", "phases", "kind", "tokenizer_sha256", "sequence_length")


class Cap(Enum):
    """What limits a component."""

    EPOCHS = "epochs_max"
    TOKENS = "tokens_max"


@dataclass(frozen=True)
class Component:
    """One dataset version: its size, and the most that a run may read of it."""

    rows: int
    tokens: int
    epochs_max: float = EPOCHS_MAX
    tokens_max: int | None = None

    @property
    def tokens_per_row(self) -> Fraction:
        """Mean tokens of a row."""
        return Fraction(self.tokens, self.rows)

    @property
    def cap(self) -> Cap:
        """The tighter of the two limits."""
        return self._limit[1]

    @property
    def rows_max(self) -> int:
        """Most rows to read in a run."""
        return self._limit[0]

    @property
    def _limit(self) -> tuple[int, Cap]:
        by_epochs = int(Fraction(self.epochs_max) * self.rows)
        by_tokens = by_epochs if self.tokens_max is None else int(self.tokens_max / self.tokens_per_row)
        return (by_tokens, Cap.TOKENS) if by_tokens < by_epochs else (by_epochs, Cap.EPOCHS)


@dataclass(frozen=True)
class Phase:
    """A part of a run: its share of the tokens, and one weight per component; both relative."""

    share: float
    weights: tuple[float, ...]
    name: str = ""


@dataclass(frozen=True)
class Plan:
    """Rows per phase and component, `rows[phase][component]`, and what the weights alone would have given."""

    rows: tuple[tuple[int, ...], ...]
    wanted: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def rows_short(self) -> int:
        """Rows that no component may fill."""
        return sum(map(sum, self.wanted)) - len(self)

    @cached_property
    def totals(self) -> tuple[int, ...]:
        """Rows per component over all phases."""
        return tuple(map(sum, zip(*self.rows, strict=True)))

    def at(self, row: int) -> tuple[int, int, int]:
        """Return phase and component of a row of the run, and the row's number in the component's own order.

        Takes O(phases + log rows) and no state; rows past the end read the plan again, the components going on.
        """
        run, place = divmod(row, len(self))
        phase = next(i for i, end in enumerate(self._ends) if place < end)
        place -= self._ends[phase] - len(self._orders[phase])
        component, number = self._orders[phase].at(place)
        return phase, component, run * self.totals[component] + self._offsets[phase][component] + number

    @cached_property
    def _orders(self) -> list[Interleave]:
        return [Interleave(counts) for counts in self.rows]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(sum, self.rows)))

    @cached_property
    def _offsets(self) -> list[tuple[int, ...]]:
        """Rows that each component gave before each phase."""
        columns = [accumulate(column, initial=0) for column in zip(*self.rows, strict=True)]
        return list(zip(*columns, strict=True))


def plan(components: Sequence[Component], phases: Sequence[Phase], rows: int) -> Plan:
    """Return which rows a run of `rows` reads; fewer when the caps of all components of a phase bind.

    Phases hold at least one positive weight each; components have rows and tokens.
    """
    units = _units(components, phases)
    lengths = _apportion(rows, [sum(row) for row in units])
    wanted = [_apportion(length, row) for length, row in zip(lengths, units, strict=True)]
    current, fixed = wanted, dict[int, list[int]]()
    while over := [
        i
        for i, component in enumerate(components)
        if i not in fixed and sum(phase[i] for phase in current) > component.rows_max
    ]:
        fixed |= {i: _apportion(components[i].rows_max, [phase[i] for phase in current]) for i in over}
        current = [_fill(lengths[f], row, {i: counts[f] for i, counts in fixed.items()}) for f, row in enumerate(units)]
    return Plan(tuple(map(tuple, current)), tuple(map(tuple, wanted)))


def rows_for(components: Sequence[Component], phases: Sequence[Phase], tokens: int) -> int:
    """Return how many rows of the mixture hold `tokens`, at least one."""
    return max(1, round(Fraction(tokens * sum(map(sum, _units(components, phases))), _UNIT)))


def tokens_of(made: Plan, components: Sequence[Component]) -> int:
    """Return about how many tokens the rows of a plan hold."""
    rows = zip(made.totals, components, strict=True)
    return round(sum(count * component.tokens_per_row for count, component in rows))


def components_of(mixture: Mixture) -> list[Component]:
    """Return the components of a mixture that was created."""
    return [
        Component(c.rows, c.tokens, c.epochs_max, c.tokens_max if c.HasField("tokens_max") else None)
        for c in mixture.components
    ]


def phases_of(mixture: Mixture) -> list[Phase]:
    """Return the phases of a mixture that was created."""
    return [Phase(phase.share, tuple(phase.weights), phase.display_name) for phase in mixture.phases]


def short_of(made: Plan, components: Sequence[Component], field: str) -> InvalidRequest:
    """Return the error for a run that asks for more than the caps allow."""
    return InvalidRequest(
        f"the caps of the mixture leave {len(made)} rows, about {tokens_of(made, components)} tokens, "
        f"{made.rows_short} rows less than the run needs; train fewer steps, or make a mixture with "
        "higher caps or more data",
        field=field,
    )


def write_mixture(blobs: Blobs, mixture: Mixture) -> ArtifactRef:
    """Store everything of a mixture that decides what is read; equal mixtures get equal references."""
    content = Mixture(**{name: getattr(mixture, name) for name in _CONTENT})
    value = json_format.MessageToDict(content, preserving_proto_field_name=True)
    return blobs.put_bytes(canonical_json(value), MEDIA_TYPE)


def read_mixture(blobs: Blobs, ref: ArtifactRef) -> Mixture:
    """Return what `write_mixture` stored, verified.

    Raises: NotFound; DataLoss if it is damaged or holds fields that this program does not know.
    """
    mixture = Mixture()
    try:
        json_format.ParseDict(json.loads(blobs.get_bytes(ref)), mixture)
        if not (mixture.components and mixture.phases):
            raise ValueError("it has no components or no phases")
    except (ValueError, AttributeError, json_format.ParseError) as error:
        raise DataLoss(f"{ref.key} is not a mixture: {error}", resource=ref.key) from error
    return mixture


def _units(components: Sequence[Component], phases: Sequence[Phase]) -> list[list[int]]:
    """Return rows per token of the run in units of 1 / _UNIT, by phase and component; 0 only for a weight of 0."""
    all_shares = sum(Fraction(phase.share) for phase in phases)
    table = []
    for phase in phases:
        scale = Fraction(phase.share) / all_shares / sum(map(Fraction, phase.weights)) * _UNIT
        rates = [
            Fraction(weight) * scale / component.tokens_per_row
            for weight, component in zip(phase.weights, components, strict=True)
        ]
        table.append([max(1, int(rate)) if rate else 0 for rate in rates])
    return table


def _fill(length: int, units: Sequence[int], fixed: dict[int, int]) -> list[int]:
    """Return the rows of a phase when some components' rows are fixed; the others share the rest."""
    rest = _apportion(length - sum(fixed.values()), [0 if i in fixed else unit for i, unit in enumerate(units)])
    return [fixed.get(i, rows) for i, rows in enumerate(rest)]


def _apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Return whole numbers in proportion to `weights` that add up to `total`, by largest remainder; ties go left.

    Without a positive weight all are 0.
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    quotas = [divmod(total * weight, whole) for weight in weights]
    counts = [quota for quota, _ in quotas]
    order = sorted(range(len(weights)), key=lambda i: (-quotas[i][1], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
