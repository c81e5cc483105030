"""The command as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

COMMANDS = [
    ["up"], ["down"], ["status"], ["init"], ["demo"],
    ["deploy"], ["undeploy"], ["chat"], ["feedback"], ["serve-process"],
    ["dataset", "import"], ["dataset", "list"], ["dataset", "show"], ["dataset", "profile"],
    ["dataset", "diff"], ["dataset", "export"], ["dataset", "synthesize"],
    ["dataset", "rejections"],
    ["mixture", "create"], ["mixture", "preview"], ["mixture", "show"], ["mixture", "list"],
    ["mixture", "optimise"],
    ["train", "cpt"], ["train", "sft"], ["train", "dpo"], ["train", "pretrain"], ["train", "kto"], ["train", "orpo"],
    ["train", "reward-model"], ["train", "grpo"], ["train", "online-dpo"],
    ["job", "list"], ["job", "watch"], ["job", "logs"], ["job", "cancel"],
    ["model", "import"], ["model", "list"], ["model", "show"], ["model", "export"],
    ["model", "verify"],
    ["model", "extend-vocabulary"], ["tokenizer", "train"], ["tokenizer", "extend"], ["tokenizer", "report"],
    ["plan"],
    ["loop", "start"], ["loop", "watch"], ["loop", "describe"], ["loop", "stop"],
    ["eval", "suite"], ["eval", "run"], ["eval", "runs"], ["eval", "import"], ["eval", "contamination"],
    ["eval", "compare"], ["eval", "gate"],
]  # fmt: skip


def bessemer(*words, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "bessemer.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **kwargs,
    )


def test_every_command_has_help_with_an_example():
    from bessemer.cli.main import app
    from typer.testing import CliRunner

    runner = CliRunner()
    for command in COMMANDS:
        result = runner.invoke(app, [*command, "--help"])
        assert result.exit_code == 0, command
        assert "Example: bessemer" in re.sub(r"\s+", " ", result.output), command


def test_no_stack_says_how_to_start_one(tmp_path):
    done = bessemer("--home", str(tmp_path / "none"), "dataset", "list")
    assert done.returncode == 3
    assert "bessemer up" in done.stderr
    assert "Traceback" not in done.stderr


def test_init_writes_recipes_that_parse(tmp_path):
    from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
    from bessemer.sdk.recipe import parse_recipe

    assert bessemer("init", str(tmp_path / "recipes")).returncode == 0
    for method in ("cpt", "sft", "dpo", "pretrain", "kto", "orpo", "reward_model", "grpo", "online_dpo"):
        assert parse_recipe(TrainingRecipe, tmp_path / "recipes" / f"{method}.toml").WhichOneof("method") == method


@pytest.mark.slow
def test_commands_against_a_running_stack(embedded):
    home = ("--home", str(embedded.home))
    status = bessemer(*home, "--output", "json", "status")
    assert status.returncode == 0, status.stderr
    states = json.loads(status.stdout)
    assert {state["name"] for state in states} == {"nats", "data", "train", "eval", "serve"}
    assert all(state["healthy"] for state in states)
    assert sum(state["memory_bytes"] for state in states) < 1_000_000_000
    again = bessemer(*home, "up")
    assert again.returncode == 0
    assert "started" not in again.stdout
    missing = bessemer(*home, "dataset", "show", "absent/v1")
    assert missing.returncode == 4
    assert "absent" in missing.stderr
    unmixed = bessemer(*home, "mixture", "preview", "--from", "absent/v1:0.7", "--from", "missing/v1:0.3")
    assert unmixed.returncode == 4
    assert "absent" in unmixed.stderr
    wrong = bessemer(*home, "train", "cpt", "--model", "base/v1", "--data", "text/v1", "--set", "learning_rat=1")
    assert wrong.returncode == 2
    assert "learning_rate" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mixture", "create", "m", "--from", "a/v1:much"], "is not a number"),
        (["mixture", "create", "m", "--from", "a/v1", "--tokens-max", "b/v1:9"], "which no --from does"),
        (["mixture", "create", "m", "--from", "a"], "names no version"),
        (["mixture", "create", "m", "--from", "a/v1", "--phase", "0.5:1"], "NAME:SHARE:W1,W2"),
        (["mixture", "optimise", "m", "n", "--target", "a/v1:much"], "is not a number"),
        (["mixture", "preview"], "either a MIXTURE, or --from"),
        (["train", "cpt", "--model", "m/v1"], "either --data or --mixture"),
        (["train", "cpt", "--model", "m/v1", "--data", "a/v1", "--mixture", "m"], "either --data or --mixture"),
    ],
)
def test_options_that_do_not_fit_say_what_would(words, message):
    from bessemer.cli.main import app
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", result.output)
