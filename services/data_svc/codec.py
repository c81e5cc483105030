"""Messages into other messages: recipes with defaults, job inputs, and the lineage that a resource tells of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_pb2 import (
    ContaminationSet,
    CurationInputs,
    CurationJob,
    CurationRecipe,
    CurationResult,
    DatasetKind,
    DatasetVersion,
    SourceFile,
)
from bessemer.api.data.v1.feedback_curation_pb2 import CurateFeedbackTask
from bessemer.api.data.v1.lineage_service_pb2 import Lineage, LineageEdge, LineageNode
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationRun, EvaluationSuite, GateDecision
from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.api.train.v1.model_pb2 import ModelJob, ModelSource, ModelVersion
from bessemer.kernel.errors import InvalidRequest

from data_svc.domain.recipes import recipe_of

__all__ = [
    "curation_inputs",
    "curation_recipe",
    "dataset_version",
    "erased_version",
    "feedback_version",
    "lineage_of_dataset_version",
    "lineage_of_deployment",
    "lineage_of_erased_version",
    "lineage_of_evaluation_run",
    "lineage_of_evaluation_suite",
    "lineage_of_feedback_version",
    "lineage_of_gate_decision",
    "lineage_of_import",
    "lineage_of_mixture",
    "lineage_of_model_version",
]


def curation_recipe(recipe: CurationRecipe, kind: DatasetKind) -> CurationRecipe:
    """Return a copy with every default filled in; fields of other kinds stay unset.

    Raises: InvalidRequest if the recipe makes another kind than the dataset holds.
    """
    if recipe.kind not in {DatasetKind.DATASET_KIND_UNSPECIFIED, kind}:
        wanted, found = DatasetKind.Name(kind), DatasetKind.Name(recipe.kind)
        raise InvalidRequest(f"the dataset holds {wanted}, the recipe makes {found}", field="curation_job.recipe.kind")
    stated = CurationRecipe()
    stated.CopyFrom(recipe)
    stated.kind = kind
    full = recipe_of(stated)
    is_text = kind == DatasetKind.DATASET_KIND_TEXT
    return CurationRecipe(
        kind=kind,
        sequence_length=full.sequence_length if is_text else None,
        heldout_fraction=full.heldout_fraction,
        seed=full.seed,
        min_characters=full.min_characters,
        near_duplicate_threshold=full.near_duplicate_threshold,
        rows_max=None if is_text else full.rows_max,
        tokens_max=full.tokens_max if is_text else None,
        quality=f"QUALITY_PROFILE_{full.quality}",
        redact=full.redact,
        parse_failures_max=full.parse_failures_max,
        classifier_threshold=full.classifier_threshold if is_text else None,
        sample_fraction=full.sample_fraction,
        semantic_duplicate_threshold=full.semantic_duplicate_threshold if is_text else None,
    )


def curation_inputs(
    uploads: Iterable[Upload],
    source: DatasetVersion | None,
    suites: Iterable[ContaminationSet],
    labels: Upload | None = None,
) -> CurationInputs:
    """Return what the worker will read, by digest."""
    return CurationInputs(
        uploads=[
            SourceFile(
                upload=u.name,
                file_name=u.file_name,
                artifact=u.artifact,
                license=u.license,
                consent=u.consent,
                retain_until=u.retain_until,
            )
            for u in uploads
        ],
        source_manifest=source.manifest if source else None,
        contamination_sets=suites,
        quality_labels=labels.artifact if labels else None,
    )


def dataset_version(job: CurationJob, result: CurationResult) -> DatasetVersion:
    """Return the version that a curation job made, still without a name."""
    return DatasetVersion(
        kind=job.recipe.kind,
        manifest=result.manifest,
        splits=result.splits,
        reasons=result.reasons,
        tokenizer_sha256=result.tokenizer_sha256,
        sequence_length=job.recipe.sequence_length,
        sources=[*job.uploads, *([job.source_version] if job.source_version else [])],
        report=result.report if result.HasField("report") else None,
    )


def lineage_of_dataset_version(version: DatasetVersion) -> Lineage:
    """Return what a dataset version was made from."""
    sources = [LineageNode(name=name, kind=_kind(name)) for name in version.sources]
    made = LineageNode(name=version.name, kind="datasetVersions", sha256=version.manifest.sha256)
    return _made(made, [(node, "curated_from") for node in sources])


def lineage_of_mixture(mixture: Mixture) -> Lineage:
    """Return what a mixture mixes."""
    parts = mixture.components
    used = [
        LineageNode(name=part.dataset_version, kind="datasetVersions", sha256=part.manifest.sha256) for part in parts
    ]
    made = LineageNode(name=mixture.name, kind="mixtures", sha256=mixture.content.sha256)
    return _made(made, [(node, "mixes") for node in used])


def feedback_version(task: CurateFeedbackTask, kind: DatasetKind, result: CurationResult) -> DatasetVersion:
    """Return the version that a curation of feedback made, still without a name."""
    return DatasetVersion(
        kind=kind,
        manifest=result.manifest,
        splits=result.splits,
        reasons=result.reasons,
        sources=task.model_versions,
        report=result.report,
    )


def lineage_of_feedback_version(version: DatasetVersion) -> Lineage:
    """Return whose answers a version of feedback holds."""
    made = LineageNode(name=version.name, kind="datasetVersions", sha256=version.manifest.sha256)
    return _made(made, [(LineageNode(name=name, kind="modelVersions"), "answers_of") for name in version.sources])


def erased_version(old: DatasetVersion, result: CurationResult) -> DatasetVersion:
    """Return the version that an erasure made of another, still without a name."""
    return DatasetVersion(
        kind=old.kind,
        manifest=result.manifest,
        splits=result.splits,
        reasons=result.reasons,
        tokenizer_sha256=result.tokenizer_sha256,
        sequence_length=old.sequence_length,
        sources=[old.name],
        report=result.report,
    )


def lineage_of_erased_version(version: DatasetVersion) -> Lineage:
    """Return what an erased version was made from; it holds less, so that it is no child by `curated_from`."""
    made = LineageNode(name=version.name, kind="datasetVersions", sha256=version.manifest.sha256)
    return _made(made, [(LineageNode(name=name, kind=_kind(name)), "erased_from") for name in version.sources])


def lineage_of_evaluation_suite(suite: EvaluationSuite) -> Lineage:
    """Return which version a suite's cases were taken from; empty for others."""
    if not suite.dataset_version:
        return Lineage()
    made = LineageNode(name=suite.name, kind="evaluationSuites", sha256=suite.cases.sha256)
    return _made(made, [(LineageNode(name=suite.dataset_version, kind="datasetVersions"), "cases_of")])


def lineage_of_model_version(version: ModelVersion) -> Lineage:
    """Return what a model version was trained or extended from, and trained on."""
    used = [(LineageNode(name=name, kind="datasetVersions"), "trained_on") for name in version.dataset_versions]
    if version.mixture:
        used.append((LineageNode(name=version.mixture, kind="mixtures"), "trained_on"))
    if version.parent:
        relation = "extended_from" if version.source == ModelSource.MODEL_SOURCE_EXTENDED else "trained_from"
        used.append((LineageNode(name=version.parent, kind="modelVersions"), relation))
    made = LineageNode(name=version.name, kind="modelVersions", sha256=version.manifest.sha256)
    return _made(made, used)


def lineage_of_import(job: ModelJob) -> Lineage:
    """Return where an imported model came from; empty for exports."""
    task = getattr(job, "import")  # a word of Python
    source = task.upload or (f"catalogue/{task.catalogue}" if task.catalogue else "")
    if not source or not job.model_version:
        return Lineage()
    made = LineageNode(name=job.model_version, kind="modelVersions")
    return _made(made, [(LineageNode(name=source, kind=_kind(source)), "imported_from")])


def lineage_of_evaluation_run(run: EvaluationRun) -> Lineage:
    """Return what an evaluation run judged."""
    used = [(LineageNode(name=run.model_version, kind="modelVersions"), "evaluates")]
    made = LineageNode(name=run.name, kind="evaluationRuns")
    return _made(made, used)


def lineage_of_gate_decision(decision: GateDecision) -> Lineage:
    """Return what a gate decision decided on, and on which evidence."""
    runs = [name for name in (decision.baseline_run, decision.candidate_run) if name]
    used = [(LineageNode(name=name, kind="evaluationRuns"), "compares") for name in runs]
    used.append(
        (
            LineageNode(name=decision.model_version, kind="modelVersions", sha256=decision.model_sha256),
            "decides_on",
        )
    )
    return _made(LineageNode(name=decision.name, kind="gateDecisions"), used)


def lineage_of_deployment(deployment: Deployment) -> Lineage:
    """Return what a deployment serves, and what allowed it."""
    manifest = deployment.model_manifest.sha256
    used = [(LineageNode(name=deployment.model_version, kind="modelVersions", sha256=manifest), "deploys")]
    if deployment.gate_decision:
        used.append((LineageNode(name=deployment.gate_decision, kind="gateDecisions"), "allowed_by"))
    if deployment.waiver.name:
        used.append((LineageNode(name=deployment.waiver.name, kind="gateWaivers"), "allowed_by"))
    return _made(LineageNode(name=deployment.name, kind="deployments"), used)


def _made(made: LineageNode, used: Sequence[tuple[LineageNode, str]]) -> Lineage:
    edges = [LineageEdge(source=node.name, target=made.name, relation=relation) for node, relation in used]
    return Lineage(nodes=[*(node for node, _ in used), made], edges=edges)


def _kind(name: str) -> str:
    """Return the collection of a resource; `versions` alone does not say whose."""
    parts = name.split("/")
    if len(parts) > 3 and parts[-2] == "versions":
        return {"datasets": "datasetVersions", "models": "modelVersions"}.get(parts[-4], "versions")
    return parts[-2]
