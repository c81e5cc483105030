"""The model card of an export: what the registry and the comparison know, nothing that somebody would have to type.

Sections follow Mitchell et al. 2019, `Model Cards for Model Reporting`, as far as facts are known.
"""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.train.v1.model_pb2 import (
    EvaluationFact,
    LineageStep,
    ModelJob,
    ModelSource,
    ParityReport,
)
from bessemer.modeling.language_model import LanguageConfig

__all__ = ["model_card"]

_SOURCES = {
    ModelSource.MODEL_SOURCE_IMPORTED: "imported",
    ModelSource.MODEL_SOURCE_TRAINED: "trained",
    ModelSource.MODEL_SOURCE_EXTENDED: "given more tokens",
    ModelSource.MODEL_SOURCE_INITIALISED: "initialised at random",
}
_RUN = {
    "safetensors": "Load the folder with transformers, vLLM or any tool that reads the Hugging Face layout.",
    "gguf": "llama-server --model model.gguf",
    "onnx": "python run_onnx.py FOLDER (needs onnxruntime, tokenizers, numpy and jinja2)",
    "openvino": 'openvino_genai.LLMPipeline("FOLDER", "CPU")',
}

_LIMITS = (
    "A language model states false things with confidence. It was evaluated on the suites above and on nothing else; "
    "use it for what they cover, and evaluate it again for anything else."
)


def model_card(job: ModelJob, config: LanguageConfig, report: ParityReport) -> str:
    """Return the card as Markdown."""
    task, lineage = job.export, list(job.inputs.lineage)
    license_ = next((step.license for step in lineage if step.license), "not stated")
    parts = [
        f"# {_short(task.model_version)}",
        _table(
            ("", ""),
            [
                ("model version", task.model_version),
                ("digest of its manifest", job.inputs.model_manifest.sha256),
                ("architecture", config.model_type),
                ("parameters", f"{config.num_parameters:,}"),
                ("context", f"{config.context_length:,} tokens"),
                ("format", f"{task.format}, {task.precision}"),
                ("licence of the base", license_),
            ],
        ),
        f"## How to run it\n\n`{_RUN[task.format]}`",
        "## Where it comes from\n\n" + _lineage(lineage),
        "## Evaluation\n\n" + _evaluations(task.evaluations),
        "## Parity with the trained model\n\n" + _parity(report),
        "## Limits\n\n" + _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _lineage(steps: Sequence[LineageStep]) -> str:
    rows = []
    for step in steps:
        how = _SOURCES.get(step.source, "unknown")
        if step.training_job:
            adapters = f", adapters of rank {step.adapter_rank} merged" if step.adapter_rank else ""
            how = f"{step.method}: {step.steps:,} steps, {step.tokens:,} tokens{adapters}"
        data = ", ".join(_short(name) for name in step.dataset_versions) or "none of its own"
        made = step.create_time.ToDatetime().date().isoformat()
        rows.append((_short(step.model_version), how, data, made, step.manifest_sha256[:16]))
    return _table(("version", "made by", "data", "made on", "digest"), rows)


def _evaluations(facts: Sequence[EvaluationFact]) -> str:
    if not facts:
        return "No result of an evaluation was handed over at export."
    rows = [
        (
            _short(fact.suite),
            fact.metric,
            f"{fact.value:.4g}",
            f"{fact.low:.4g} to {fact.high:.4g}",
            f"{fact.cases:,}",
            _short(fact.evaluation_run),
        )
        for fact in facts
    ]
    table = _table(("suite", "metric", "value", "95 % interval", "cases", "run"), rows)
    return table + "\n\nAs stated by whoever exported the model."


def _parity(report: ParityReport) -> str:
    rows = [
        (check.name, f"{check.value:.4g}", f"{check.limit:.4g}", "yes" if check.passed else "no")
        for check in report.checks
    ]
    intro = (
        f"Compared with the fp32 weights through {report.runtime}, on {report.texts} texts and conversations and "
        f"{report.tokens:,} tokens."
    )
    return intro + "\n\n" + _table(("check", "found", "limit", "holds"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _short(name: str) -> str:
    parts = name.split("/")
    return "/".join(parts[3::2]) if len(parts) > 3 else name
