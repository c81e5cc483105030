"""Which settings go with which grader."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from bessemer.api.eval.v1.evaluation_pb2 import GraderOptions
from bessemer.kernel.errors import InvalidRequest

from eval_svc.domain.cases import Grader, target_problem
from eval_svc.domain.formula import check_formula

__all__ = ["check_options", "judges_of"]

_FIELD = "evaluation_suite.options"
_WRITTEN = set(Grader) - {Grader.PERPLEXITY, Grader.CHOICE, Grader.RECORDED}
_FITTING = {
    "stop": _WRITTEN,
    "choice_length": {Grader.CHOICE},
    "exact": {Grader.EXACT},
    "numeric": {Grader.NUMERIC},
    "text_measure": {Grader.TEXT_SIMILARITY},
    "python": {Grader.PYTHON},
    "judge": {Grader.JUDGE},
    "formula": {Grader.FORMULA},
}
Known = Callable[[int], Grader | None]


def check_options(
    grader: Grader, options: GraderOptions, known: Known, *, judges: Collection[str] = (), field: str = _FIELD
) -> list[Grader]:
    """Return the graders that read each case's target, the parts of a formula; `known` names a kind's grader.

    Raises: InvalidRequest naming the field.
    """
    for descriptor, _ in options.ListFields():
        if grader not in _FITTING[descriptor.name]:
            raise InvalidRequest(
                f"{field}.{descriptor.name} does not go with {grader.upper()}; leave it out",
                field=f"{field}.{descriptor.name}",
            )
    tolerances = (options.numeric.absolute_tolerance, options.numeric.relative_tolerance)
    if not all(math.isfinite(value) and value >= 0 for value in tolerances):
        raise InvalidRequest(f"{field}.numeric: tolerances must be at least 0", field=f"{field}.numeric")
    exact = options.exact
    for name, pattern in (("extract", exact.extract), *(("ignore", pattern) for pattern in exact.ignore)):
        if wrong := target_problem(Grader.REGEX, pattern):
            raise InvalidRequest(f"{field}.exact.{name} {wrong}", field=f"{field}.exact.{name}")
    if not exact.verbatim and (exact.ignore or exact.ignore_case or exact.ignore_punctuation):
        raise InvalidRequest(
            f"{field}.exact: what to ignore is said only with `verbatim`", field=f"{field}.exact.verbatim"
        )
    if grader is Grader.JUDGE:
        _check_judge(options, judges, field)
    return _check_parts(options, known, judges, field) if grader is Grader.FORMULA else []


def judges_of(options: GraderOptions) -> set[str]:
    """Return the names of the judges a suite asks, those of formula parts included."""
    own = {options.judge.judge} if options.HasField("judge") else set()
    return own.union(*(judges_of(part.options) for part in options.formula.parts))


def _check_judge(options: GraderOptions, judges: Collection[str], field: str) -> None:
    judge = options.judge
    if judge.judge not in judges:
        raise InvalidRequest(
            f"{field}.judge.judge must be one of {', '.join(sorted(judges)) or 'none, the operator named none'}; "
            f"got {judge.judge!r}; judges are named in judges.json of the service's home",
            field=f"{field}.judge.judge",
        )
    marks = (judge.lowest, judge.highest or 1.0)
    if not (all(map(math.isfinite, marks)) and marks[0] < marks[1]):
        raise InvalidRequest(f"{field}.judge.highest must be above lowest", field=f"{field}.judge.highest")
    if judge.instructions and "{output}" not in judge.instructions:
        raise InvalidRequest(
            f"{field}.judge.instructions must hold {{output}}, where the answer goes",
            field=f"{field}.judge.instructions",
        )


def _check_parts(options: GraderOptions, known: Known, judges: Collection[str], field: str) -> list[Grader]:
    parts, readers = options.formula.parts, []
    ids = [part.id for part in parts]
    if not ids or len(set(ids)) < len(ids):
        raise InvalidRequest(f"{field}.formula.parts must be 1 to 8 with different ids", field=f"{field}.formula.parts")
    for index, part in enumerate(parts):
        where = f"{field}.formula.parts[{index}]"
        grader = known(part.grader)
        if grader not in _WRITTEN - {Grader.FORMULA} or part.options.stop:
            raise InvalidRequest(
                f"{where} must have a grader of written answers, but FORMULA; `stop` belongs to the suite",
                field=f"{where}.grader",
            )
        check_options(grader, part.options, known, judges=judges, field=f"{where}.options")
        if part.target and (wrong := target_problem(grader, part.target)):
            raise InvalidRequest(f"{where}.target {wrong}", field=f"{where}.target")
        if not part.target:
            readers.append(grader)
    check_formula(options.formula.expression, ids)
    return readers
