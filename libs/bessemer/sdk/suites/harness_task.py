"""Tasks of lm-evaluation-harness: one YAML file over local data becomes the same requests.

Taken over are `multiple_choice` and `generate_until`, templates, few-shot examples, one regex filter, and the metrics
acc, acc_norm, acc_bytes and exact_match. What would run Python, or fetch data from a hub, is refused.
Source: the task guide of lm-evaluation-harness 0.4.13; tests/bench/bench_evaluation.py compares with it.
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.sdk.suites.draft import SuiteDraft, read_rows, refuse
from bessemer.sdk.suites.templates import Templates

__all__ = ["read_task"]

INCLUDES_MAX = 8
FEWSHOT_SEED = 1234  # the peer's default
TOKENS = 256  # the peer's default
_REFUSED = (
    "process_docs", "process_results", "custom_dataset", "use_prompt", "doc_to_image", "doc_to_audio", "gen_prefix",
    "unsafe_code",
)  # fmt: skip
_LENGTHS = {"acc": "CHOICE_LENGTH_NONE", "acc_norm": "CHOICE_LENGTH_CHARACTERS", "acc_bytes": ""}


def read_task(path: Path) -> SuiteDraft:
    """Return the suite that a task file describes.

    Raises: InvalidRequest naming the field that cannot be taken over; FailedPrecondition without PyYAML or Jinja.
    """
    task = Task(path, _load(path), Templates())
    given = task.given
    for field in _REFUSED:
        if given.get(field):
            raise refuse(path, f"{field} is not taken over; export the prompts with --log_samples and import the log")
    kind = given.get("output_type", "generate_until")
    if kind not in {"multiple_choice", "generate_until"}:
        raise refuse(path, f"output_type {kind!r} is not taken over; multiple_choice and generate_until are")
    prompts = task.prompts()
    return _choices(task, prompts) if kind == "multiple_choice" else _answers(task, prompts)


@dataclass(frozen=True)
class Task:
    """A task file with what fills it in."""

    path: Path
    given: Mapping[str, Any]
    templates: Templates

    @property
    def name(self) -> str:
        """The name of the task, which the ids of its cases begin with."""
        return str(self.given.get("task") or self.path.stem)

    def target(self, row: Mapping[str, Any]) -> Any:
        """Return a row's right answer: an index into its choices, a text, or a list of texts."""
        field = "doc_to_target"
        template = self.given.get(field, "")
        if not isinstance(template, str):
            return template
        value = self.templates.text(field, template, row)
        if isinstance(value, str) and template not in row:
            if value.isdigit() and self.given.get("doc_to_choice") is not None:
                return int(value)
            if len(value) >= 2 and value[0] == "[" and value[-1] == "]":
                with contextlib.suppress(InvalidRequest):
                    return self.templates.value(field, template, row)
        return value

    def answer(self, row: Mapping[str, Any]) -> Any:
        """Return a row's right answer as a text or a list of texts."""
        target = self.target(row)
        if self.given.get("doc_to_choice") is None or not isinstance(target, int):
            return target
        choices = self.choices(row)
        if not 0 <= target < len(choices):
            raise refuse(self.path, f"doc_to_target gives {target}, but there are {len(choices)} choices")
        return choices[target]

    def choices(self, row: Mapping[str, Any]) -> list[str]:
        """Return a row's choices."""
        template = self.given.get("doc_to_choice")
        if isinstance(template, Mapping):
            return [str(choice) for choice in template.values()]
        found = template if isinstance(template, list) else self.templates.value("doc_to_choice", str(template), row)
        if not isinstance(found, list) or not all(isinstance(choice, str) for choice in found):
            raise refuse(self.path, "doc_to_choice must give a list of texts")
        return found

    def question(self, row: Mapping[str, Any]) -> str:
        """Return a row's question."""
        template = self.given.get("doc_to_text", "")
        text = self.templates.text("doc_to_text", template, row) if isinstance(template, str) else template
        if not isinstance(text, str) or (text.isdigit() and self.given.get("doc_to_choice") is not None):
            raise refuse(self.path, "a prompt for each choice, as in Winogrande, is not taken over")
        return text

    def prompts(self) -> list[tuple[Mapping[str, Any], str]]:
        """Return every row of the evaluated split with its prompt, examples included."""
        split = self.given.get("test_split") or self.given.get("validation_split")
        rows = self._rows(split)
        shots = int(self.given.get("num_fewshot") or 0)
        examples = self._examples() if shots else []
        config = self.given.get("fewshot_config") or {}
        # As the peer compares: two splits that are not named are the same.
        same = (config.get("split") or self.given.get("fewshot_split")) == self.given.get("test_split")
        generator = random.Random(FEWSHOT_SEED)
        made: list[tuple[Mapping[str, Any], str]] = []
        for row in rows:
            chosen = _chosen(config, examples, shots, row if same else None, generator) if shots else []
            description = str(self.given.get("description") or "")
            head = self.templates.text("description", description, row) if description else ""
            made.append((row, head + "".join(map(self._example, chosen)) + self.question(row)))
        return made

    def _example(self, row: Mapping[str, Any]) -> str:
        target = self.answer(row)
        answer = target[0] if isinstance(target, list) else str(target)
        delimiter = self.given.get("target_delimiter", " ")
        return f"{self.question(row)}{delimiter}{answer}{self.given.get('fewshot_delimiter', chr(10) * 2)}"

    def _examples(self) -> list[dict[str, Any]]:
        config = self.given.get("fewshot_config") or {}
        if unknown := set(config) - {"sampler", "split", "samples", "fewshot_indices"}:
            raise refuse(self.path, f"fewshot_config.{min(unknown)} is not taken over")
        if config.get("sampler", "default") not in {"default", "first_n"}:
            raise refuse(self.path, f"fewshot_config.sampler {config['sampler']!r} is not taken over")
        samples = config.get("samples")
        rows = samples if isinstance(samples, list) else self._rows(self._fewshot_split())
        return [rows[index] for index in config["fewshot_indices"]] if config.get("fewshot_indices") else rows

    def _fewshot_split(self) -> Any:
        config = self.given.get("fewshot_config") or {}
        named = (config.get("split"), *(self.given.get(f"{name}_split") for name in ("fewshot", "training")))
        others = (self.given.get(f"{name}_split") for name in ("validation", "test"))
        return next((split for split in (*named, *others) if split), None)

    def _rows(self, split: Any) -> list[dict[str, Any]]:
        kind = self.given.get("dataset_path")
        if kind not in {"json", "csv"}:
            raise refuse(
                self.path,
                f"dataset_path must be json or csv with data_files on this machine; got {kind!r}, which lies elsewhere",
            )
        files = (self.given.get("dataset_kwargs") or {}).get("data_files")
        if isinstance(files, Mapping):
            files = files.get(split)
        elif split not in {"train", None}:
            files = None
        names = [files] if isinstance(files, str) else files
        if not isinstance(names, list) or not names:
            raise refuse(self.path, f"dataset_kwargs.data_files names no file for the split {split!r}")
        return [row for name in names for row in read_rows(self._file(str(name)))]

    def _file(self, name: str) -> Path:
        beside = self.path.parent / name
        return beside if beside.is_file() else Path(name)


def _choices(task: Task, prompts: Sequence[tuple[Mapping[str, Any], str]]) -> SuiteDraft:
    metrics = [str(metric.get("metric")) for metric in task.given.get("metric_list") or [{"metric": "acc"}]]
    metric = next((metric for metric in metrics if metric in _LENGTHS), None)
    if metric is None:
        raise refuse(task.path, f"none of the metrics {', '.join(metrics)} is taken over; {', '.join(_LENGTHS)} are")
    delimiter = str(task.given.get("target_delimiter", " "))
    cases = []
    for number, (row, text) in enumerate(prompts):
        choices, target = task.choices(row), task.target(row)
        index = choices.index(target) if isinstance(target, str) and target in choices else target
        if not isinstance(index, int) or not 0 <= index < len(choices):
            raise refuse(task.path, f"row {number}: doc_to_target gives {target!r}, which is none of the choices")
        prompt = text + delimiter
        if not prompt[-1:].isspace() and not all(choice[:1].isspace() for choice in choices):
            raise refuse(task.path, "target_delimiter must end with white space, or every choice begin with it")
        cases.append({"id": f"{task.name}:{number}", "prompt": prompt, "choices": choices, "target": index})
    notes = [f"scored by {metric}"] + [f"{other} is left out" for other in metrics if other != metric]
    options = {"choice_length": _LENGTHS[metric]} if _LENGTHS[metric] else {}
    return SuiteDraft(grader="choice", cases=cases, options=options, notes=notes)


def _answers(task: Task, prompts: Sequence[tuple[Mapping[str, Any], str]]) -> SuiteDraft:
    metrics = task.given.get("metric_list") or [{"metric": "exact_match"}]
    metric = next((metric for metric in metrics if metric.get("metric") == "exact_match"), None)
    if metric is None:
        raise refuse(
            task.path, f"metric {metrics[0].get('metric')!r} is not taken over for generate_until; exact_match is"
        )
    settings = task.given.get("generation_kwargs") or {}
    if settings.get("do_sample") or float(settings.get("temperature") or 0) > 0:
        raise refuse(task.path, "generation_kwargs: sampling is not taken over; answers are the likeliest tokens")
    if int(task.given.get("repeats") or 1) != 1:
        raise refuse(task.path, "repeats is not taken over")
    exact, notes = _filter(task)
    exact |= {"verbatim": True, "ignore": list(metric.get("regexes_to_ignore") or [])}
    exact |= {field: True for field in ("ignore_case", "ignore_punctuation") if metric.get(field)}
    until = settings.get("until") or task.given.get("fewshot_delimiter", "\n\n")
    cases = []
    for number, (row, prompt) in enumerate(prompts):
        target = task.answer(row)
        if isinstance(target, list) and len(target) != 1:
            raise refuse(task.path, f"row {number}: several right answers are not taken over")
        text = str(target[0] if isinstance(target, list) else target)
        cases.append({"id": f"{task.name}:{number}", "prompt": prompt, "target": text})
    return SuiteDraft(
        grader="exact",
        cases=cases,
        options={"stop": [until] if isinstance(until, str) else list(until), "exact": exact},
        max_tokens=int(settings.get("max_gen_toks") or TOKENS),
        notes=["scored by exact_match", *notes],
    )


def _filter(task: Task) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that stand for the first filter; others are named in the notes."""
    filters = task.given.get("filter_list") or [{"name": "none", "filter": [{"function": "take_first"}]}]
    steps = [step for step in filters[0].get("filter") or [] if step.get("function") != "take_first"]
    notes = [f"filter {other.get('name')} is left out" for other in filters[1:]]
    if not steps:
        return {}, notes
    if len(steps) > 1 or steps[0]["function"] != "regex":
        raise refuse(task.path, f"filter {steps[-1].get('function')!r} is not taken over; one regex is")
    pattern = str(steps[0].get("regex_pattern", r"#### (\-?[0-9\.\,]+)"))
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise refuse(task.path, f"regex_pattern: {error}") from error
    if groups > 1:
        raise refuse(task.path, "regex_pattern with several groups is not taken over")
    return {"extract": pattern, "match": int(steps[0].get("group_select") or 0)}, notes


def _chosen(
    config: Mapping[str, Any],
    examples: Sequence[dict[str, Any]],
    shots: int,
    own: Mapping[str, Any] | None,
    generator: random.Random,
) -> list[dict[str, Any]]:
    """Return the examples of one row as the peer draws them; `own` is the row where it may be among them."""
    if shots + (own is not None) > len(examples):
        raise InvalidRequest(f"num_fewshot asks for {shots} examples; there are {len(examples)}", field="num_fewshot")
    if config.get("sampler") == "first_n":
        return [row for row in examples if row != own][:shots]
    if own is None:
        return generator.sample(examples, shots)
    drawn = [row for row in generator.sample(examples, shots + 1) if row != own][:shots]
    return drawn if len(drawn) == shots else generator.sample([row for row in examples if row != own], shots)


def _load(path: Path, depth: int = 0) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise FailedPrecondition(
            "task files need PyYAML; install it with: pip install 'bessemer[evaluation]'", reason="FIELD_INVALID"
        ) from error

    class Loader(yaml.SafeLoader):
        """YAML without code."""

    def function(_loader: Any, node: Any) -> Any:
        raise refuse(
            path,
            f"line {node.start_mark.line + 1}: !function would run Python, which is not done; run the task in "
            "lm-eval with --log_samples once and import the log",
        )

    Loader.add_constructor("!function", function)
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a safe loader that refuses tags
    except FileNotFoundError:
        raise refuse(path, "there is no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(path, f"is no task file: {error}") from error
    if not isinstance(found, dict):
        raise refuse(path, "must be a mapping of a task's fields")
    base: dict[str, Any] = {}
    for name in _names(found.pop("include", None)):
        if depth == INCLUDES_MAX:
            raise refuse(path, f"includes nest more than {INCLUDES_MAX} deep")
        base |= _load(path.parent / name, depth + 1)
    return base | found


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else [str(value)] if value else []
