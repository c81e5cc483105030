"""The graders of written answers, with the processes and connections they share during a suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from bessemer.api.eval.v1.evaluation_pb2 import GraderKind, GraderOptions, Judge

from eval_svc.domain.cases import Case, Grader
from eval_svc.domain.formula import compute
from eval_svc.domain.results import Mark
from eval_svc.worker.child import Child
from eval_svc.worker.exact import mark_exact
from eval_svc.worker.json_schema import SCHEMA_PROGRAM, mark_json_schema
from eval_svc.worker.judge import JudgeClient, mark_judge
from eval_svc.worker.numeric import mark_numeric
from eval_svc.worker.patterns import Patterns
from eval_svc.worker.python import mark_python
from eval_svc.worker.regex import mark_regex
from eval_svc.worker.text_similarity import mark_text

__all__ = ["Graders", "grader_of"]


def grader_of(kind: GraderKind) -> Grader:
    """Return the grader of a kind."""
    return Grader(GraderKind.Name(kind).removeprefix("GRADER_KIND_").lower())


class Graders:
    """Marks answers; `judges` are those the suites name."""

    def __init__(self, judges: Mapping[str, Judge] | None = None) -> None:
        self._patterns = Patterns()
        self._schemas = Child(SCHEMA_PROGRAM)
        self._judges = dict(judges or {})
        self._clients: dict[str, JudgeClient] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patterns.close()
        self._schemas.close()
        for client in self._clients.values():
            client.close()

    def mark(self, grader: Grader, output: str, case: Case, options: GraderOptions, *, target: str = "") -> Mark:
        """Return the mark of an answer as the model wrote it; `target` replaces the case's."""
        wanted, said = target or case.target, output.strip()
        marks: dict[Grader, Callable[[], Mark]] = {
            Grader.EXACT: lambda: mark_exact(
                output if options.exact.verbatim else said, wanted, options.exact, self._patterns
            ),
            Grader.REGEX: lambda: mark_regex(said, wanted, self._patterns),
            Grader.NUMERIC: lambda: mark_numeric(said, wanted, options.numeric),
            Grader.JSON_SCHEMA: lambda: mark_json_schema(said, wanted, self._schemas),
            Grader.TEXT_SIMILARITY: lambda: mark_text(said, wanted, options.text_measure),
            Grader.PYTHON: lambda: mark_python(output, case, wanted, options.python),
            Grader.JUDGE: lambda: mark_judge(said, case, wanted, options.judge, self._client(options.judge.judge)),
            Grader.FORMULA: lambda: self._formula(output, case, options),
        }
        return marks[grader]()

    def _formula(self, output: str, case: Case, options: GraderOptions) -> Mark:
        scores, reasons = {}, []
        for part in options.formula.parts:
            mark = self.mark(grader_of(part.grader), output, case, part.options, target=part.target)
            if mark.score is None:
                return Mark(None, f"{part.id}: {mark.reason}")
            scores[part.id] = mark.score
            reasons += [f"{part.id}: {mark.reason}"] if mark.reason else []
        try:
            value = compute(options.formula.expression, scores)
        except ArithmeticError as error:
            return Mark(None, str(error))
        if not -1e-9 <= value <= 1 + 1e-9:
            return Mark(None, f"the formula gives {value:g}, which is not from 0 to 1")
        return Mark(min(1.0, max(0.0, value)), "; ".join(reasons))

    def _client(self, name: str) -> JudgeClient:
        if name not in self._clients:
            self._clients[name] = JudgeClient(self._judges[name])
        return self._clients[name]
