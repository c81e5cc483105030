"""Suites from files of other tools, and generated ones."""

from __future__ import annotations

import json

import pytest
from bessemer.api.eval.v1.evaluation_pb2 import GraderOptions
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.sdk.suites import generate_suite, read_suite
from google.protobuf.json_format import ParseDict

ROWS = [
    {"q": "1 + 1?", "options": ["one", "two"], "right": 1},
    {"q": "2 + 2?", "options": ["four", "five"], "right": 0},
    {"q": "3 + 3?", "options": ["six", "nine"], "right": 0},
]


def task(folder, text, rows=ROWS, data="data.jsonl"):
    (folder / data).write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "sums.yaml"
    path.write_text(
        "task: sums\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: data.jsonl\ntest_split: test\n"
        + text
    )
    return path


CHOICES = "output_type: multiple_choice\ndoc_to_text: 'Q: {{q}}\n\n  A:'\ndoc_to_choice: options\n"
ANSWERS = "output_type: generate_until\ndoc_to_text: 'Q: {{q}} A:'\ndoc_to_target: '{{options[right]}}'\n"


def test_task_of_choices_becomes_the_same_requests(tmp_path):
    draft = read_suite(task(tmp_path, CHOICES + "doc_to_target: right\nmetric_list: [{metric: acc_norm}]\n"))
    assert draft.grader == "choice"
    assert draft.options == {"choice_length": "CHOICE_LENGTH_CHARACTERS"}
    assert draft.cases[0] == {"id": "sums:0", "prompt": "Q: 1 + 1?\nA: ", "choices": ["one", "two"], "target": 1}


@pytest.mark.parametrize(
    ("choices", "target"),
    [
        ("doc_to_choice: ['one', 'two', 'four', 'six']", "doc_to_target: '{{options[right]}}'"),
        ('doc_to_choice: "{{[options[0], options[1]]}}"', "doc_to_target: '{{right}}'"),
        ("doc_to_choice: {a: one, b: two, c: four, d: six}", "doc_to_target: '{{options[right]}}'"),
    ],
)
def test_task_says_choices_and_target_in_every_way_of_the_guide(tmp_path, choices, target):
    text = f"output_type: multiple_choice\ndoc_to_text: q\n{choices}\n{target}\n"
    case = read_suite(task(tmp_path, text)).cases[0]
    assert (case["prompt"], case["choices"][case["target"]]) == ("1 + 1? ", "two")


def test_task_with_first_examples_puts_them_before_the_question_and_never_the_question_itself(tmp_path):
    text = CHOICES + "doc_to_target: right\nnum_fewshot: 1\nfewshot_split: test\nfewshot_config: {sampler: first_n}\n"
    cases = read_suite(task(tmp_path, text + 'description: "Add.\\n"\n')).cases
    assert cases[1]["prompt"] == "Add.\nQ: 1 + 1?\nA: two\n\nQ: 2 + 2?\nA: "
    assert cases[0]["prompt"] == "Add.\nQ: 2 + 2?\nA: four\n\nQ: 1 + 1?\nA: "
    drawn = read_suite(task(tmp_path, text.replace("first_n", "default"))).cases
    assert all(case["prompt"].count("Q:") == 2 for case in drawn)
    assert drawn == read_suite(task(tmp_path, text.replace("first_n", "default"))).cases


def test_task_of_answers_keeps_stops_filter_and_what_the_metric_ignores(tmp_path):
    text = ANSWERS + (
        "generation_kwargs: {until: ['\\n'], max_gen_toks: 9, do_sample: false}\n"
        "metric_list: [{metric: exact_match, ignore_case: true, regexes_to_ignore: [',']}]\n"
        "filter_list:\n- name: strict\n  filter:\n  - {function: regex, regex_pattern: '#### (.+)', group_select: -1}\n"
        "  - {function: take_first}\n- name: loose\n  filter: [{function: take_first}]\n"
    )
    draft = read_suite(task(tmp_path, text.replace("'\\n'", '"\\n"')))
    assert (draft.grader, draft.max_tokens) == ("exact", 9)
    assert draft.cases[0] == {"id": "sums:0", "prompt": "Q: 1 + 1? A:", "target": "two"}
    options = ParseDict(dict(draft.options), GraderOptions())
    assert list(options.stop) == ["\n"]
    assert (options.exact.extract, options.exact.match, options.exact.verbatim) == ("#### (.+)", -1, True)
    assert (options.exact.ignore_case, list(options.exact.ignore)) == (True, [","])
    assert "filter loose is left out" in draft.notes


def test_task_that_includes_another_overrides_its_fields(tmp_path):
    path = task(tmp_path, CHOICES + "doc_to_target: right\n")
    path.rename(tmp_path / "base.yaml")
    (tmp_path / "child.yaml").write_text("include: base.yaml\ntask: child\n")
    assert read_suite(tmp_path / "child.yaml").cases[0]["id"] == "child:0"
    (tmp_path / "child.yaml").write_text("include: child.yaml\n")
    with pytest.raises(InvalidRequest, match="nest"):
        read_suite(tmp_path / "child.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CHOICES + "doc_to_target: !function utils.target\n", "!function"),
        (CHOICES + "doc_to_target: !!python/object/apply:os.system ['true']\n", "no task file"),
        (CHOICES + "doc_to_target: 7\n", "none of the choices"),
        (CHOICES + "doc_to_target: '{{missing}}'\n", "doc_to_target"),
        (CHOICES + 'doc_to_target: "{{q.__class__.__mro__}}"\n', "doc_to_target"),
        (CHOICES + "doc_to_target: \"{{''.__class__.__base__.__subclasses__()}}\"\n", "doc_to_target"),
        (CHOICES + "doc_to_target: right\nmetric_list: [{metric: f1}]\n", "f1"),
        (CHOICES + "doc_to_target: right\ntarget_delimiter: ''\n", "white space"),
        (CHOICES + "doc_to_target: right\nnum_fewshot: 5\n", "5 examples"),
        ("output_type: loglikelihood\n", "output_type"),
        (ANSWERS + "process_results: x\n", "process_results"),
        (ANSWERS + "generation_kwargs: {temperature: 0.7}\n", "sampling"),
        (ANSWERS + "metric_list: [{metric: bleu}]\n", "bleu"),
        (ANSWERS + "filter_list: [{name: a, filter: [{function: majority_vote}]}]\n", "majority_vote"),
        (ANSWERS + "dataset_path: openai/gsm8k\n", "dataset_path"),
        (ANSWERS + "test_split: other\n", "no file"),
        ("- a list\n", "no task file"),
    ],
)
def test_task_that_cannot_be_taken_over_is_refused_with_the_reason(tmp_path, text, reason):
    with pytest.raises(InvalidRequest) as refused:
        read_suite(task(tmp_path, text))
    assert reason in refused.value.message


def test_log_of_lm_eval_gives_the_prompts_it_asked_each_once(tmp_path):
    choice = {
        "doc_id": 0, "doc": {}, "target": "1", "filter": "none",
        "arguments": {
            "gen_args_0": {"arg_0": "Q: 1 + 1?\nA:", "arg_1": " one"},
            "gen_args_1": {"arg_0": "Q: 1 + 1?\nA:", "arg_1": " two"},
        },
    }  # fmt: skip
    path = tmp_path / "samples_sums_2026-11-28T10-00-00.123456.jsonl"
    path.write_text((json.dumps(choice) + "\n") * 2)
    (case,) = read_suite(path).cases
    assert case == {"id": "sums:0", "prompt": "Q: 1 + 1?\nA: ", "choices": ["one", "two"], "target": 1}
    written = choice | {"arguments": {"gen_args_0": {"arg_0": "Q:", "arg_1": {"until": ["\n"], "max_gen_toks": 5}}}}
    path.write_text(json.dumps(written) + "\n")
    draft = read_suite(path)
    assert (draft.grader, draft.max_tokens, draft.cases[0]["target"]) == ("exact", 5, "1")
    path.write_text(json.dumps(choice) + "\n" + json.dumps(written | {"doc_id": 1}) + "\n")
    with pytest.raises(InvalidRequest, match="one task"):
        read_suite(path)


def test_log_of_inspect_gives_its_samples(tmp_path):
    path = tmp_path / "log.json"

    def log(scorer, *samples):
        path.write_text(json.dumps({"version": 2, "eval": {"scorers": [{"name": scorer}]}, "samples": samples}))
        return path

    first = {"id": 1, "epoch": 1, "input": "1 + 1?", "target": "2."}
    draft = read_suite(log("inspect_ai/includes", first, first | {"epoch": 2}))
    assert draft.grader == "regex"
    assert draft.cases == [{"id": "1", "prompt": [{"role": "user", "content": "1 + 1?"}], "target": r"(?i)2\."}]
    draft = read_suite(log("choice", first | {"choices": ["1", "2"], "target": "B"}))
    assert (draft.grader, draft.cases[0]["target"]) == ("choice", 1)
    with pytest.raises(InvalidRequest, match="model_graded_qa"):
        read_suite(log("model_graded_qa", first))
    with pytest.raises(InvalidRequest, match="no samples"):
        read_suite(log("exact"))


OUTPUT = "{{sample.output_text}}"
CHECK = {"type": "string_check", "operation": "eq", "input": OUTPUT, "reference": "{{item.meta.answer}}"}


def openai(folder, grader):
    (folder / "items.jsonl").write_text(json.dumps({"prompt": "1 + 1?", "meta": {"answer": "2."}, "id": "a"}) + "\n")
    (folder / "grader.json").write_text(json.dumps(grader))
    return read_suite(folder / "grader.json", items=folder / "items.jsonl")


@pytest.mark.parametrize(
    ("grader", "name", "target", "options"),
    [
        (CHECK, "exact", "2.", {"exact": {"verbatim": True}}),
        (CHECK | {"operation": "ilike"}, "regex", r"(?i)2\.", {}),
        (
            {**CHECK, "type": "text_similarity", "evaluation_metric": "rouge_1"},
            "text_similarity",
            "2.",
            {"text_measure": "TEXT_MEASURE_TOKEN_F1"},
        ),
        (
            {
                "type": "multi",
                "graders": {"same": CHECK, "near": CHECK | {"type": "text_similarity", "evaluation_metric": "bleu"}},
                "calculate_output": "0.5 * same + 0.5 * near",
            },
            "formula",
            "2.",
            {
                "formula": {
                    "expression": "0.5 * same + 0.5 * near",
                    "parts": [
                        {"id": "same", "grader": "GRADER_KIND_EXACT", "options": {"exact": {"verbatim": True}}},
                        {"id": "near", "grader": "GRADER_KIND_TEXT_SIMILARITY", "options": {}},
                    ],
                }
            },
        ),
    ],
)
def test_grader_of_openai_becomes_ours(tmp_path, grader, name, target, options):
    draft = openai(tmp_path, grader)
    assert (draft.grader, draft.options) == (name, options)
    assert draft.cases == [{"id": "a", "prompt": "1 + 1?", "target": target}]
    ParseDict(dict(draft.options), GraderOptions())


def test_judge_of_openai_is_named_and_never_an_address(tmp_path):
    turns = [{"role": "user", "content": "Mark {{sample.output_text}} against {{item.meta.answer}}."}]
    draft = openai(tmp_path, {"type": "score_model", "model": "house", "input": turns, "range": [1, 5]})
    judge = draft.options["judge"]
    assert (draft.grader, judge["judge"], judge["lowest"], judge["highest"]) == ("judge", "house", 1, 5)
    assert judge["instructions"].startswith("Mark {output} against {target}.")
    assert draft.cases[0]["target"] == "2."


@pytest.mark.parametrize(
    ("grader", "reason"),
    [
        ({"type": "python", "source": "def grade(sample, item): return 1"}, "unit tests"),
        ({"type": "label_model"}, "score_model"),
        (CHECK | {"operation": "ne"}, "'ne'"),
        (CHECK | {"input": "x" + OUTPUT}, "alone"),
        (CHECK | {"reference": "{{item.missing}}"}, ["item", "missing"][1]),
        ({**CHECK, "type": "text_similarity", "evaluation_metric": "cosine"}, "cosine"),
    ],
)
def test_grader_of_openai_that_cannot_be_taken_over_is_refused_with_the_reason(tmp_path, grader, reason):
    with pytest.raises(InvalidRequest) as refused:
        openai(tmp_path, grader)
    assert reason in refused.value.message
    (tmp_path / "alone.json").write_text(json.dumps(CHECK))
    with pytest.raises(InvalidRequest, match="--cases"):
        read_suite(tmp_path / "alone.json")


def test_rows_of_csv_and_json_lines_become_cases(tmp_path):
    table = tmp_path / "sums.csv"
    table.write_text('question,answer,choices\n"1, then 1?",1,"[""one"", ""two""]"\n')
    assert read_suite(table, grader="choice").cases == [
        {"prompt": "1, then 1?", "target": 1, "choices": ["one", "two"], "id": "sums:0"}
    ]
    lines = tmp_path / "sums.jsonl"
    lines.write_text('{"id": "x", "prompt": "1?", "target": "1", "note": 5}\n')
    assert read_suite(lines, grader="numeric").cases == [{"id": "x", "prompt": "1?", "target": "1"}]
    with pytest.raises(InvalidRequest, match="--grader"):
        read_suite(lines)
    lines.write_text("{\n")
    with pytest.raises(InvalidRequest, match="line 1"):
        read_suite(lines, grader="numeric")
    table.write_text("a,b\n1\n")
    with pytest.raises(InvalidRequest, match="header"):
        read_suite(table, grader="exact")


def test_generated_suite_is_the_same_for_the_same_seed_and_its_numbers_are_graded_as_numbers():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; install bessemer[problems]")
    draft = generate_suite("reasoning-gym:chain_sum:5:7")
    assert draft.grader == "numeric"
    assert draft.cases == generate_suite("reasoning-gym:chain_sum:5:7").cases
    assert draft.cases != generate_suite("reasoning-gym:chain_sum:5:8").cases
    assert len({case["id"] for case in draft.cases}) == 5


@pytest.mark.parametrize("source", ["gsm8k:a:1:1", "reasoning-gym:chain_sum:0:1", "reasoning-gym:nothing:1:1"])
def test_generated_suite_that_does_not_exist_is_refused(source):
    with pytest.raises((InvalidRequest, FailedPrecondition)):  # the second one where reasoning-gym is not installed
        generate_suite(source)
