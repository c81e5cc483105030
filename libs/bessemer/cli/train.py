"""`bessemer train`: one command a method, recipes as TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.api.train.v1 import training_job_pb2
from bessemer.cli.output import print_message, short, time_text
from bessemer.cli.progress import follow
from bessemer.cli.settings import settings_of
from bessemer.sdk.recipe import parse_recipe

__all__ = ["app"]

app = typer.Typer(help="Train a model on your data.", no_args_is_help=True)
Model = Annotated[str, typer.Option(help="Model version to start from, such as smollm2/v1 or assistant@champion.")]
Data = Annotated[list[str] | None, typer.Option(help="Dataset version to learn from; may be repeated.")]
Mixture = Annotated[str | None, typer.Option(help="Mixture of dataset versions to learn from instead of --data.")]
Into = Annotated[str, typer.Option(help="Model that gets the new version; made when missing.")]
Recipe = Annotated[Path | None, typer.Option(help="Training recipe, TOML.")]
Setting = Annotated[list[str] | None, typer.Option("--set", help="Recipe key=value; may be repeated.")]
Lora = Annotated[bool, typer.Option("--lora", help="Train low-rank adapters instead of all weights.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start and return; follow with: bessemer job watch.")]


# Name of a method to what its command says.
_METHODS = {
    "cpt": """Continue pre-training on documents.

    Example: bessemer train cpt --model smollm2/v1 --data handbook/v1 --set steps=60
    Example: bessemer train cpt --model smollm2/v1 --mixture plant
    """,
    "pretrain": """Pre-train on documents from new weights, in the shape and with the tokenizer of a model version.

    Example: bessemer train pretrain --model smollm2/v1 --data handbook/v1 --set pretrain.num_layers=4 --into small
    """,
    "sft": """Fine-tune on conversations.

    Example: bessemer train sft --model assistant/v1 --data questions/v1 --lora
    """,
    "dpo": """Align with preferences, anchored so that the right answers keep their likelihood.

    Example: bessemer train dpo --model assistant/v2 --data preferences/v1 --set dpo.beta=0.1
    Example: bessemer train dpo --model assistant/v2 --data thumbs/v1 --set dpo.loss=robust --set dpo.label_noise=0.2
    """,
    "kto": """Align with answers that were liked or not, anchored on the liked ones.

    Example: bessemer train kto --model assistant/v2 --data preferences/v1 --lora
    """,
    "orpo": """Fine-tune on chosen answers and away from rejected ones, in one go.

    Example: bessemer train orpo --model assistant/v1 --data preferences/v1
    """,
    "reward_model": """Learn to score answers from preferences.

    Example: bessemer train reward-model --model assistant/v2 --data preferences/v1 --into judge
    """,
    "distill": """Learn the probabilities that a larger model of the same vocabulary gives.

    Example: bessemer train distill --model small/v1 --data questions/v1 --set distill.teacher=assistant/v2
    """,
    "online_dpo": """Align with graded answers of the model's own: the best of several against the worst.

    Example: bessemer train online-dpo --model assistant/v2 --data sums/v1 --set online_dpo.grader=exact --lora
    Example: bessemer train online-dpo --model assistant/v2 --data sums/v1 --set 'online_dpo.reward_models=["judge/v1"]'
    """,
    "grpo": """Reinforce answers that are graded as right.

    Example: bessemer train grpo --model assistant/v2 --data sums/v1 --set grpo.grader=numeric --lora
    Example: bessemer train grpo --model assistant/v2 --set grpo.environment=basic_arithmetic --set steps=100
    """,
}


def _add_command(method: str, help_: str) -> None:
    def command(
        context: typer.Context,
        model: Model,
        data: Data = None,
        mixture: Mixture = None,
        into: Into = "assistant",
        recipe: Recipe = None,
        settings: Setting = None,
        lora: Lora = False,
        detach: Detach = False,
    ) -> None:
        _train(
            context, method, model, data, mixture, into=into, recipe=recipe, settings=settings, lora=lora, detach=detach
        )

    command.__doc__ = help_
    app.command(method.replace("_", "-"))(command)


for _name, _help in _METHODS.items():
    _add_command(_name, _help)


def _train(
    context: typer.Context,
    method: str,
    model: str,
    data: list[str] | None,
    mixture: str | None,
    *,
    into: str,
    recipe: Path | None,
    settings: list[str] | None,
    lora: bool,
    detach: bool,
) -> None:
    shared = settings_of(context)
    parsed = parse_recipe(training_job_pb2.TrainingRecipe, recipe, settings or [])
    if parsed.WhichOneof("method") not in (None, method):
        raise typer.BadParameter(f"the recipe is for {parsed.WhichOneof('method')}, not {method}")
    chosen = getattr(parsed, method)
    chosen.SetInParent()
    if method == "distill" and chosen.teacher:
        chosen.teacher = shared.version_name("models", chosen.teacher)
    for number, judge in enumerate(getattr(chosen, "reward_models", ())):
        chosen.reward_models[number] = shared.version_name("models", judge)
    if not getattr(chosen, "environment", "") and bool(data) == bool(mixture):
        raise typer.BadParameter("give either --data or --mixture")
    if lora:
        parsed.lora.SetInParent()
    job = training_job_pb2.TrainingJob(
        base_model_version=shared.version_name("models", model),
        dataset_versions=[shared.version_name("datasets", each) for each in data or []],
        mixture=shared.name("mixtures", mixture) if mixture else "",
        model=shared.name("models", into),
        recipe=parsed,
    )
    with shared.client() as client:
        created = client.train.create_training_job(parent=shared.project, training_job=job)
        if detach:
            print_message(
                shared, created, {"job": short(created.name), "next": f"bessemer job watch {short(created.name)}"}
            )
            return
        done = follow(client, shared, created, f"{method} {short(job.base_model_version)}")
        print_message(shared, done, _summary(done))


def _summary(job: Any) -> dict[str, str]:
    usage = job.usage
    rate = usage.tokens / usage.seconds if usage.seconds else 0.0
    early = {"stopped early": job.early_stop} if job.early_stop else {}
    return {
        "model version": short(job.model_version),
        **early,
        "steps": str(usage.steps),
        "tokens": f"{usage.tokens} ({rate:.0f} per second)",
        "time": time_text(usage.seconds),
        "FLOPs": f"{usage.flops:.3g}",
    }
