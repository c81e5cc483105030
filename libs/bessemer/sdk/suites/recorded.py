"""Results that other tools recorded, each case with its score: what `bessemer eval import` takes over.

Read are sample logs of lm-evaluation-harness (`samples_*.jsonl`), logs of inspect_ai (JSON, or `.eval` packed with
deflate), and output items of runs of the OpenAI Evals API (JSON or JSON Lines).
Source: lm-evaluation-harness 0.4.13, inspect_ai 0.3.285 and openai-python's `OutputItemListResponse`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk.suites.draft import SuiteDraft, read_json, read_rows, refuse
from bessemer.sdk.suites.harness_log import is_harness_log, read_harness_log, task_of
from bessemer.sdk.suites.inspect_log import case_of, is_inspect_log, read_eval_file, read_inspect_log, text_of

__all__ = ["RecordedRun", "Scale", "read_recorded"]

Scale = tuple[float, float]
Case = Mapping[str, Any]
_PREFERRED = ("acc", "exact_match", "acc_norm")
# As inspect's own `value_to_float`.
_LETTERS = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What a file holds: the suite that was asked, and a record `{"id", "score", "output"?, "unscored"?}` per case."""

    tool: str
    file_name: str
    file_sha256: str
    model: str
    metric: str
    suite: SuiteDraft
    results: Sequence[Mapping[str, Any]]

    def write(self, path: Path) -> Path:
        """Write the results as JSON Lines."""
        with path.open("w", encoding="utf-8") as lines:
            for result in self.results:
                lines.write(json.dumps(result, ensure_ascii=False) + "\n")
        return path


@dataclass(frozen=True)
class _Scored:
    """One answer to one case; `score` is what the tool says, not yet a number."""

    case: Case
    score: Any
    output: str = ""
    problem: str = ""


def read_recorded(path: Path, *, metric: str = "", scale: Scale = (0.0, 1.0)) -> RecordedRun:
    """Return what a file recorded; answers to one case, such as inspect's epochs, are averaged.

    `metric` names the score where the file holds several; `scale` are the scores that become 0 and 1.
    Raises: InvalidRequest naming the sample, or the metrics there are.
    """
    if not scale[0] < scale[1]:
        raise InvalidRequest(f"the range must go from a lower to a higher score; got {scale}", field="range")
    reader, given = _reader(path)
    tool, model, chosen, rows, suite = reader(path, given, metric)
    results, cases = _averaged(path, rows, scale)
    # What the tool's own scorer marked is run anew only if its suite can be taken over.
    return RecordedRun(
        tool=tool,
        file_name=path.name,
        file_sha256=_digest(path),
        model=model[:256],
        metric=chosen,
        suite=suite or SuiteDraft(grader="recorded", cases=cases),
        results=results,
    )


Read = tuple[str, str, str, list[_Scored], SuiteDraft | None]
Reader = Callable[[Path, Any, str], Read]


def _reader(path: Path) -> tuple[Reader, Any]:
    if path.suffix == ".eval":
        return _inspect, read_eval_file(path)
    if path.suffix == ".json":
        value = read_json(path)
        if is_inspect_log(value):
            return _inspect, value
        items = value.get("data") if isinstance(value, Mapping) else value
        if _is_openai(items):
            return _openai, items
    else:
        rows = read_rows(path)
        if is_harness_log(rows[0]):
            return _harness, rows
        if _is_openai(rows):
            return _openai, rows
    raise refuse(
        path,
        "holds no recorded results; samples_*.jsonl of lm-eval with --log_samples, a log of inspect and output items "
        "of an OpenAI eval run are taken over",
    )


def _harness(path: Path, rows: list[dict[str, Any]], metric: str) -> Read:
    """Read a sample log; a metric may name its filter too, as in `exact_match,strict-match`."""
    name, _, wanted = metric.partition(",")
    filters = list(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
    if wanted and wanted not in filters:
        raise refuse(path, f"filter {wanted!r} is not in the log; it has {', '.join(filters)}", field="metric")
    rows = [row for row in rows if str(row.get("filter", "none")) == (wanted or filters[0])]
    known = [key for key in rows[0].get("metrics") or () if isinstance(rows[0].get(key), int | float | bool)]
    name = name or next((key for key in (*_PREFERRED, *known) if key in known), "")
    if name not in known:
        found = f"one of {', '.join(known)}" if known else "none that is a number per sample"
        raise refuse(path, f"metric {name!r} is not taken over; the log has {found}", field="metric")
    try:
        suite: SuiteDraft | None = read_harness_log(path, rows)
    except InvalidRequest:
        suite = None  # such as a prompt for each choice, which only the tool itself can ask
    if suite is not None and suite.grader == "choice" and name in {"acc_norm", "acc_bytes"}:
        length = "CHOICE_LENGTH_CHARACTERS" if name == "acc_norm" else "CHOICE_LENGTH_UNSPECIFIED"
        suite = SuiteDraft(grader="choice", cases=suite.cases, options={"choice_length": length})
    cases = {case["id"]: case for case in suite.cases} if suite else {}
    scored = []
    for row in rows:
        identifier = f"{task_of(path)}:{row['doc_id']}"
        case = cases.get(identifier) or {
            "id": identifier, "prompt": _first_prompt(row) or identifier, "target": str(row["target"]) or "-"
        }  # fmt: skip
        scored.append(_Scored(case, row.get(name), _said(row)))
    return "lm-evaluation-harness", "", f"{name},{wanted or filters[0]}", scored, suite


def _first_prompt(row: Mapping[str, Any]) -> str:
    asked = row["arguments"]
    pair = next(iter(asked.values() if isinstance(asked, Mapping) else asked), ())
    first = next(iter(pair.values() if isinstance(pair, Mapping) else pair), "")
    return first if isinstance(first, str) else json.dumps(first, ensure_ascii=False)


def _said(row: Mapping[str, Any]) -> str:
    answers = row.get("filtered_resps") or [""]
    return answers[0] if isinstance(answers[0], str) else ""


def _inspect(path: Path, value: Mapping[str, Any], metric: str) -> Read:
    """Read a log; a metric is the name of a scorer, or `scorer/key` where it gives several scores."""
    samples = value.get("samples") or []
    names = list(dict.fromkeys(name for sample in samples for name in sample.get("scores") or {}))
    scorer, _, key = metric.partition("/")
    scorer = scorer or (names[0] if names else "")
    if scorer not in names:
        raise refuse(path, f"scorer {scorer!r} is not in the log; it has {', '.join(names) or 'none'}", field="metric")
    scored = [_sample(path, sample, scorer, key) for sample in samples]
    try:
        spec = {**value["eval"], "scorers": [{"name": scorer}]}
        suite: SuiteDraft | None = read_inspect_log(path, {**value, "eval": spec})
    except InvalidRequest:
        suite = None
    return "inspect_ai", str(value["eval"].get("model") or ""), metric or scorer, scored, suite


def _sample(path: Path, sample: Mapping[str, Any], scorer: str, key: str) -> _Scored:
    case = case_of(sample)
    choices = (sample.get("output") or {}).get("choices") or [{}]
    output = text_of(sample, (choices[0].get("message") or {}).get("content")) or ""
    found = (sample.get("scores") or {}).get(scorer)
    if sample.get("error") or found is None:
        return _Scored(case, None, output, "the sample ended with an error" if sample.get("error") else "not scored")
    score = found.get("value")
    if isinstance(score, Mapping):
        if key not in score:
            there = ", ".join(f"{scorer}/{name}" for name in score)
            raise refuse(path, f"scorer {scorer} gives several scores; take one of {there}", field="metric")
        score = score[key]
    return _Scored(case, score, output, "the scorer gave no value")


def _is_openai(items: Any) -> bool:
    wanted = {"datasource_item", "results"}
    return isinstance(items, list) and bool(items) and all(isinstance(i, Mapping) and wanted <= set(i) for i in items)


def _openai(path: Path, items: Sequence[Mapping[str, Any]], metric: str) -> Read:
    """Read output items; a metric is the name of a grader."""
    names = list(dict.fromkeys(str(each.get("name")) for item in items for each in item.get("results") or ()))
    name = metric or (names[0] if names else "")
    if name not in names:
        raise refuse(path, f"grader {name!r} is not in the file; it has {', '.join(names) or 'none'}", field="metric")
    scored = []
    for number, item in enumerate(items):
        sample, given = item.get("sample") or {}, item["datasource_item"]
        case = {
            "id": str(item.get("datasource_item_id", number)),
            "prompt": "\n".join(str(turn.get("content")) for turn in sample.get("input") or ()) or json.dumps(given),
            "target": str(given.get("target") or given.get("answer") or given.get("reference") or "-"),
        }
        said = "\n".join(turn.get("content") or "" for turn in sample.get("output") or ())
        marks: dict[str, Mapping[str, Any]] = {str(each.get("name")): each for each in item.get("results") or ()}
        found = marks.get(name, {})
        scored.append(
            _Scored(case, found.get("score", found.get("passed")), said, str(item.get("status") or "no score"))
        )
    models = {str((item.get("sample") or {}).get("model") or "") for item in items}
    return "OpenAI Evals", ", ".join(sorted(models - {""})), name, scored, None


def _averaged(path: Path, rows: Sequence[_Scored], scale: Scale) -> tuple[list[dict[str, Any]], list[Case]]:
    """Return one result per case, with the mean of its scores, and the cases."""
    groups: dict[str, list[_Scored]] = {}
    for row in rows:
        groups.setdefault(str(row.case["id"]), []).append(row)
    results = []
    for identifier, group in groups.items():
        numbers = [number for row in group if (number := _number(path, row, scale)) is not None]
        record: dict[str, Any] = {"id": identifier, "output": group[0].output}
        if numbers:
            record["score"] = sum(numbers) / len(numbers)
        else:
            record["unscored"] = group[0].problem or "the tool has no score"
        results.append(record)
    return results, [group[0].case for group in groups.values()]


def _number(path: Path, row: _Scored, scale: Scale) -> float | None:
    """Return a score from 0 to 1; None if the tool has none.

    Raises: InvalidRequest if it is no number, or beyond the scale.
    """
    value = row.score
    if isinstance(value, str):
        value = _LETTERS.get(value.lower(), value)
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise refuse(path, f"sample {row.case['id']}: score {str(value)[:40]!r} is no number", field="metric") from None
    if math.isnan(number):
        return None
    low, high = (0.0, 1.0) if isinstance(row.score, str | bool) else scale
    if not low <= number <= high:
        raise refuse(
            path,
            f"sample {row.case['id']}: score {number:g} is not from {low:g} to {high:g}; say how scores run with "
            "--range LOWEST HIGHEST",
            field="range",
        )
    return (number - low) / (high - low)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block
