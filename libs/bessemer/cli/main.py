"""The root of the command: global options, error messages, exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli import (
    adapter,
    assess,
    batch,
    data,
    deployment,
    endpoint,
    erase,
    evaluation,
    job,
    key,
    loop,
    mixture,
    model,
    monitor,
    plan,
    rejections,
    rollout,
    stack,
    synthesize,
    tokenizer,
    train,
)
from bessemer.cli.settings import Output, Settings, errors_console
from bessemer.kernel.errors import BessemerError
from bessemer.sdk import JobNotSuccessful

__all__ = ["app", "main"]

EXIT_CODES = {
    "INVALID_ARGUMENT": 2,
    "UNAVAILABLE": 3,
    "NOT_FOUND": 4,
    "PERMISSION_DENIED": 5,
    "UNAUTHENTICATED": 5,
}
HELP = """Turn your own documents into a model you own.

Start with [bold]bessemer demo[/bold], or with [bold]bessemer up[/bold] and then
[bold]bessemer dataset import FOLDER --dataset handbook[/bold].

Exit codes: 0 done, 1 failed (a job, a gate, a conflict), 2 wrong request, 3 a service does not answer,
4 not found, 5 not allowed.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.callback()
def root(
    context: typer.Context,
    home: Annotated[Path, typer.Option(help="Folder of the embedded stack.", envvar="BESSEMER_HOME")] = Path(
        ".bessemer"
    ),
    project: Annotated[str, typer.Option(help="Project id.", envvar="BESSEMER_PROJECT")] = "default",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Table for people, JSON for programs.")
    ] = Output.TABLE,
) -> None:
    """Hold the options in front of every command."""
    context.obj = Settings(home=home, project_id=project, output=output)


data.app.command("assess")(assess.assess)
data.app.command("synthesize")(synthesize.synthesize_rows)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("status")(stack.status)
app.command("init")(stack.init)
app.command("demo")(stack.demo)
app.command("serve-process")(stack.serve_process)
app.command("plan")(plan.plan)
app.command("deploy")(deployment.deploy)
app.command("undeploy")(deployment.undeploy)
app.command("chat")(deployment.chat)
app.command("feedback")(deployment.feedback)
data.app.command("erase")(erase.erase)
data.app.command("alias")(erase.alias)
data.app.command("delete")(erase.delete)
data.app.command("rejections")(rejections.rejections)
app.add_typer(data.app, name="dataset")
app.add_typer(adapter.app, name="adapter")
app.add_typer(batch.app, name="batch")
app.add_typer(mixture.app, name="mixture")
app.add_typer(train.app, name="train")
app.add_typer(job.app, name="job")
app.add_typer(model.app, name="model")
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(evaluation.app, name="eval")
app.add_typer(monitor.app, name="monitor")
app.add_typer(key.app, name="key")
app.add_typer(loop.app, name="loop")
app.add_typer(endpoint.app, name="endpoint")
app.add_typer(rollout.app, name="rollout")


def main() -> None:
    """Run the command; print errors as one sentence with what to do next."""
    try:
        app()
    except JobNotSuccessful as error:
        errors_console.print(f"[red]error:[/red] {error.message}\n[dim]see: bessemer job logs {error.job.name}[/dim]")
        sys.exit(1)
    except BessemerError as error:
        if error.code == "UNAVAILABLE" and "bessemer up" not in error.message:
            error.message = f"{error.message}; see what runs with: bessemer status, and repair with: bessemer up"
        where = f" [dim]({error.fields['field']})[/dim]" if error.fields.get("field") else ""
        errors_console.print("[red]error:[/red]", error.message, end="")
        errors_console.print(where)
        sys.exit(EXIT_CODES.get(error.code, 1))
    except KeyboardInterrupt:
        errors_console.print("stopped watching; jobs go on. See: bessemer job list")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
