"""Results that other tools recorded, from files as those tools write them."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest
from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk.suites import read_recorded


def harness(folder, rows, *, name="samples_sums_2026-11-28T10-00-00.123456.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def choice(number, *, acc, norm, name="none", prompts=("Q:", "Q:")):
    """A row as lm-eval 0.4.13 writes it with --log_samples."""
    pairs = zip(prompts, (" one", " two"), strict=True)
    return {
        "doc_id": number, "doc": {"q": number}, "target": 1, "resps": [[["-3.0", "False"]], [["-2.0", "True"]]],
        "arguments": {f"gen_args_{i}": {"arg_0": f"{p}{number}", "arg_1": c} for i, (p, c) in enumerate(pairs)},
        "filtered_resps": [["-3.0", "False"], ["-2.0", "True"]], "filter": name, "metrics": ["acc", "acc_norm"],
        "doc_hash": "x", "prompt_hash": "y", "target_hash": "z", "acc": acc, "acc_norm": norm,
    }  # fmt: skip


def test_log_of_lm_eval_gives_cases_with_the_scores_it_recorded(tmp_path):
    path = harness(tmp_path, [choice(0, acc=1.0, norm=0.0), choice(1, acc=0.0, norm=0.0)])
    found = read_recorded(path)
    assert (found.tool, found.metric, found.model) == ("lm-evaluation-harness", "acc,none", "")
    assert found.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(one["id"], one["score"]) for one in found.results] == [("sums:0", 1.0), ("sums:1", 0.0)]
    assert [case["id"] for case in found.suite.cases] == ["sums:0", "sums:1"]
    assert (found.suite.grader, found.suite.options) == ("choice", {"choice_length": "CHOICE_LENGTH_NONE"})
    other = read_recorded(path, metric="acc_norm")
    assert [one["score"] for one in other.results] == [0.0, 0.0]
    assert other.suite.options == {"choice_length": "CHOICE_LENGTH_CHARACTERS"}
    with pytest.raises(InvalidRequest, match="acc, acc_norm"):
        read_recorded(path, metric="f1")


def test_log_with_several_filters_gives_the_one_that_is_named(tmp_path):
    written = {
        "arguments": {"gen_args_0": {"arg_0": "Q:", "arg_1": {"until": ["\n"], "max_gen_toks": 5}}},
        "metrics": ["exact_match"],
    }
    strict = choice(0, acc=0, norm=0, name="strict") | written | {"exact_match": 0.0, "filtered_resps": ["[invalid]"]}
    loose = choice(0, acc=0, norm=0, name="loose") | written | {"exact_match": 1.0, "filtered_resps": ["4"]}
    path = harness(tmp_path, [strict, loose])
    assert read_recorded(path).results == [{"id": "sums:0", "output": "[invalid]", "score": 0.0}]
    assert read_recorded(path, metric="exact_match,loose").results == [{"id": "sums:0", "output": "4", "score": 1.0}]
    with pytest.raises(InvalidRequest, match="strict, loose"):
        read_recorded(path, metric="exact_match,other")


def test_log_that_cannot_be_asked_again_becomes_a_suite_for_records_only(tmp_path):
    path = harness(tmp_path, [choice(0, acc=1.0, norm=1.0, prompts=("She", "He"))])
    found = read_recorded(path)
    assert found.suite.grader == "recorded"
    assert found.suite.cases == [{"id": "sums:0", "prompt": "She0", "target": "1"}]


def sample(identifier, value, *, epoch=1, text="two", scorer="match", **other):
    """A sample as inspect_ai 0.3.285 writes it."""
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return {
        "id": identifier, "epoch": epoch, "input": "attachment://ab", "target": "two",
        "output": {"model": "m", "choices": [{"message": message}]},
        "scores": {scorer: {"value": value, "answer": text}}, "attachments": {"ab": "1 + 1?"}, "metadata": {}, **other,
    }  # fmt: skip


def inspect_log(folder, samples, *, packed=False):
    header = {
        "version": 2, "status": "success", "eval": {"task": "sums", "model": "local/m", "scorers": [{"name": "match"}]}
    }  # fmt: skip
    if not packed:
        path = folder / "log.json"
        path.write_text(json.dumps(header | {"samples": samples}))
        return path
    path = folder / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", json.dumps(header))
        for one in samples:
            file.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_log_of_inspect_gives_the_mean_over_its_epochs(tmp_path, packed):
    samples = [sample(1, "C"), sample(1, "I", epoch=2), sample("b", float("nan")), sample("c", "P"), sample("d", True)]
    found = read_recorded(inspect_log(tmp_path, samples, packed=packed))
    assert (found.tool, found.model, found.metric) == ("inspect_ai", "local/m", "match")
    by_id = {one["id"]: one for one in found.results}
    assert (by_id["1"]["score"], by_id["c"]["score"], by_id["d"]["score"]) == (0.5, 0.5, 1.0)
    assert by_id["b"] == {"id": "b", "output": "two", "unscored": "the scorer gave no value"}
    assert found.suite.grader == "regex"
    assert found.suite.cases[0]["prompt"] == [{"role": "user", "content": "1 + 1?"}]


def test_scores_of_a_grading_model_are_taken_over_with_the_range_they_have(tmp_path):
    samples = [
        sample("a", {"style": 7, "facts": 10}, scorer="judge"),
        sample("b", {"style": 0, "facts": 5}, scorer="judge", error={"message": "timeout"}),
    ]
    path = inspect_log(tmp_path, samples)
    with pytest.raises(InvalidRequest, match="judge/style, judge/facts"):
        read_recorded(path)
    with pytest.raises(InvalidRequest, match="--range"):
        read_recorded(path, metric="judge/style")
    found = read_recorded(path, metric="judge/style", scale=(0, 10))
    assert found.suite.grader == "recorded"
    assert found.results[0] == {"id": "a", "output": "two", "score": 0.7}
    assert found.results[1]["unscored"] == "the sample ended with an error"


def test_output_items_of_an_openai_run_give_the_scores_of_the_grader_that_is_named(tmp_path):
    item = {
        "id": "outputitem_1", "object": "eval.run.output_item", "datasource_item_id": 3, "status": "pass",
        "datasource_item": {"answer": "two"}, "results": [
            {"name": "exact", "passed": True, "score": 1.0}, {"name": "style", "passed": False, "score": 0.25},
        ],
        "sample": {"model": "gpt-x", "input": [{"role": "user", "content": "1 + 1?"}], "output": [{"content": "two"}]},
    }  # fmt: skip
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"object": "list", "data": [item]}))
    found = read_recorded(path, metric="style")
    assert (found.tool, found.model) == ("OpenAI Evals", "gpt-x")
    assert found.results == [{"id": "3", "output": "two", "score": 0.25}]
    assert found.suite.cases == [{"id": "3", "prompt": "1 + 1?", "target": "two"}]
    assert read_recorded(path).metric == "exact"


@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "[1]", "no json", '{"data": [{}]}'])
def test_file_without_recorded_results_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InvalidRequest):
        read_recorded(path)
