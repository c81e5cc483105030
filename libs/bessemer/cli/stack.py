"""`bessemer up`, `down`, `status`, `init`, `demo`, `serve-process`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.cli.output import bytes_text, console, print_rows
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import FailedPrecondition
from bessemer.local import stack
from bessemer.local.plan import SERVICES, S3Keys, StackOptions

__all__ = ["demo", "down", "init", "serve_process", "status", "up"]

RECIPES = {
    "curation.toml": """# How documents become a dataset version; see protos/bessemer/api/data/v1/dataset.proto
sequence_length = 512
heldout_fraction = 0.1
min_characters = 200
near_duplicate_threshold = 0.7
""",
    "cpt.toml": """# Continued pre-training; see protos/bessemer/api/train/v1/training_job.proto
learning_rate = 5e-5
tokens_per_step = 1024
checkpoint_every_steps = 20
[cpt]
""",
    "sft.toml": """# Supervised fine-tuning
learning_rate = 5e-5
[sft]
""",
    "dpo.toml": """# Preference optimisation, always with an NLL anchor on the chosen answer
learning_rate = 1e-5
[dpo]
beta = 0.1
nll_weight = 1.0
""",
    "pretrain.toml": """# Pre-training from new weights; the keys change the shape of the model that is named
learning_rate = 1e-3
tokens_per_step = 4096
[pretrain]
""",
    "kto.toml": """# Answers that were liked or not, always with an NLL anchor on the liked ones
learning_rate = 1e-5
[kto]
beta = 0.1
nll_weight = 1.0
""",
    "orpo.toml": """# Preferences without a reference: NLL of the chosen answer plus the odds ratio
learning_rate = 1e-5
[orpo]
beta = 0.1
""",
    "reward_model.toml": """# A head that scores answers
learning_rate = 1e-5
[reward_model]
""",
    "online_dpo.toml": """# Pairs of the model's own graded answers; conversations must end with the right answer
learning_rate = 5e-6
steps = 200
[online_dpo]
beta = 0.1
nll_weight = 1.0
grader = "numeric"
prompts_per_step = 16
completions_per_prompt = 8
max_new_tokens = 64
kl_budget = 1.0
""",
    "grpo.toml": """# Reinforcement on graded answers; conversations must end with the right answer
learning_rate = 5e-6
steps = 200
[grpo]
grader = "numeric"
prompts_per_step = 16
completions_per_prompt = 8
max_new_tokens = 64
kl_budget = 1.0
""",
}


def up(
    context: typer.Context,
    s3: Annotated[str | None, typer.Option(help="Keep objects in S3: s3+http://HOST:PORT/BUCKET.")] = None,
    s3_access_key: Annotated[str | None, typer.Option(envvar="BESSEMER_S3_ACCESS_KEY", help="For --s3.")] = None,
    s3_secret_key: Annotated[str | None, typer.Option(envvar="BESSEMER_S3_SECRET_KEY", help="For --s3.")] = None,
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL with {service} in it, for PostgreSQL.")] = None,
) -> None:
    """Start the stack, or whatever of it is not running; safe to repeat. Options count at the first start.

    Example: bessemer up
    """
    settings = settings_of(context)
    began = time.monotonic()
    keys = S3Keys(access_key=s3_access_key, secret_key=s3_secret_key) if s3_access_key and s3_secret_key else None
    with console.status("starting the stack"):
        states = stack.up(settings.home, StackOptions(s3_url=s3, database_url=database), keys)
    _print(settings, states)
    if settings.output is Output.TABLE:
        console.print(
            f"up in {time.monotonic() - began:.1f} s. "
            "Next: bessemer model import, bessemer dataset import FOLDER, or bessemer demo"
        )


def down(context: typer.Context) -> None:
    """Stop the stack; nothing is lost.

    Example: bessemer down
    """
    stopped = stack.down(settings_of(context).home)
    console.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def status(context: typer.Context) -> None:
    """Show what runs where; ends 3 unless all of it answers.

    Example: bessemer status --output json
    """
    settings = settings_of(context)
    states = stack.status(settings.home)
    _print(settings, states)
    if not all(state.healthy for state in states):
        raise typer.Exit(3)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write recipes into.")] = Path("recipes"),
) -> None:
    """Write example recipes to start from; files that exist are left alone.

    Example: bessemer init recipes
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in RECIPES.items():
        path = folder / name
        if path.exists():
            console.print(f"kept  {path}")
            continue
        path.write_text(text)
        console.print(f"wrote {path}")
    console.print(f"next: bessemer train cpt --model smollm2/v1 --data documents/v1 --recipe {folder}/cpt.toml")


def demo(
    context: typer.Context,
    documents: Annotated[
        Path | None, typer.Option(help="Your own folder instead of the metadata of installed packages.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="About how long it may take.", min=2)] = 13.0,
) -> None:
    """Take a base model and documents through the whole lifecycle; ends with a served model and a report.

    Example: bessemer demo --documents ./handbook --minutes 30
    """
    from bessemer.cli.demo.run import run

    run(settings_of(context), documents=documents, minutes=minutes)


def serve_process(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")],
) -> None:
    """Run one service in this process; what a container runs. Settings come from BESSEMER_* variables.

    Example: bessemer serve-process train
    """
    if service not in SERVICES:
        raise FailedPrecondition(f"no service {service!r}; there are {', '.join(SERVICES)}", field="service")
    os.execv(sys.executable, [sys.executable, "-m", "bessemer.svckit", service])  # noqa: S606 - no shell is the point


def _print(settings: Settings, states: list[stack.ProcessState]) -> None:
    columns: dict[str, Callable[[stack.ProcessState], Any]] = {
        "process": lambda state: state.name,
        "state": _state_text,
        "address": lambda state: state.address,
        "pid": lambda state: state.pid or "",
        "memory": lambda state: bytes_text(state.memory_bytes),
        "": lambda state: "started" if state.started else "",
    }
    print_rows(settings, states, columns)


def _state_text(state: stack.ProcessState) -> str:
    if state.healthy:
        return "up"
    return "[red]down[/red]" if state.pid is None else "[yellow]not answering[/yellow]"
