"""A version without some documents, and the receipt that says where they were and who saw them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_job_pb2 import (
    DatasetJob,
    DatasetJobResult,
    ErasedDocument,
    ErasureReceipt,
    PinnedVersion,
)
from bessemer.api.data.v1.dataset_pb2 import CurationResult
from bessemer.api.data.v1.lineage_service_pb2 import Lineage, LineageNode
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import canonical_json, read_manifest
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.errors import FailedPrecondition, NotFound
from google.protobuf.json_format import MessageToDict

from data_svc.domain.erasure import Selector, reached, read_identifiers, selector_of_task
from data_svc.worker.erased_files import Gone, take_out
from data_svc.worker.rewrite import Rewrite

__all__ = ["erase", "erase_documents", "erase_pinned"]

_NAMED = 100  # of a receipt's documents and files in the job; a resource must stay below 900 KiB
_MADE = frozenset({"curated_from", "erased_from"})
_LEARNED = frozenset({"trained_on", "trained_from"})


def erase(context: TaskContext, job: DatasetJob, blobs: Blobs) -> Done:
    """Carry out an erasure; the identifiers are forgotten once the result is safe with the service."""
    upload = job.inputs.identifiers
    if context.saved_state:
        result = DatasetJobResult.FromString(context.saved_state)
    else:
        folder = context.workdir / "version"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        context.report(stage="looking for the documents", fraction=0.1)
        result = erase_pinned(job, _selector(context, job), blobs, folder)
        shutil.rmtree(folder)
    if upload.key:
        context.report(stage="forgetting the identifiers", fraction=0.9, saved_state=result.SerializeToString())
        context.objects.delete(upload.key)
    sealed = [result.sealed.manifest, result.sealed.report] if result.HasField("sealed") else []
    return Done(result, [*sealed, result.receipt.receipt_artifact])


def erase_pinned(job: DatasetJob, selector: Selector, blobs: Blobs, folder: Path) -> DatasetJobResult:
    """Erase what a job pinned, in an empty folder, and write the receipt."""
    receipt = ErasureReceipt(selector_sha256=selector.sha256, dataset_version=job.erase.dataset_version)
    receipt.old_sha256 = receipt.new_sha256 = job.inputs.manifest.sha256
    result = DatasetJobResult()
    gone = erase_documents(blobs, job.inputs.manifest, selector, folder, receipt)
    if gone is not None:
        result.sealed.CopyFrom(gone)
        receipt.new_sha256 = gone.manifest.sha256
        _trace(receipt, job.inputs.lineage, _holders(blobs, job.inputs.related, receipt.documents))
    receipt.uploads.extend(node.name for node in job.inputs.lineage.nodes if node.kind == "uploads")
    receipt.time.GetCurrentTime()
    whole = MessageToDict(receipt, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    receipt.receipt_artifact.CopyFrom(blobs.put_bytes(canonical_json(whole), "application/json"))
    del receipt.documents[_NAMED:], receipt.files[_NAMED:]
    for document in receipt.documents:
        document.ClearField("pieces")
    result.receipt.CopyFrom(receipt)
    return result


def erase_documents(
    blobs: Blobs, manifest: ArtifactRef, selector: Selector, folder: Path, receipt: ErasureReceipt
) -> CurationResult | None:
    """Seal the version without what `selector` takes and tell it to `receipt`; None if it takes nothing.

    Raises: FailedPrecondition DATASET_EMPTY if nothing would be left.
    """
    with Rewrite(blobs, read_manifest(blobs, manifest), folder) as version:
        gone = Gone.find(version, selector)
        if not gone.records:
            return None
        if gone.num_left == 0:
            raise FailedPrecondition(
                "every document of the version would go; delete the version instead",
                reason="DATASET_EMPTY",
                field="dataset_job.erase",
            )
        sealed = take_out(version, blobs, gone, selector, old_sha256=manifest.sha256)
    receipt.num_documents = len(gone.records)
    receipt.documents.extend(_documents(gone, selector))
    receipt.files.extend(sorted(version.changed, key=lambda file: file.path))
    dropped = sum(gone.tokens.rows_dropped.values())
    receipt.rows_changed = gone.tokens.rows_changed + sum(map(len, gone.rows.values()))
    receipt.rows_dropped = dropped
    receipt.tokens_removed = sum(gone.tokens.tokens(record["number"]) for record in gone.records)
    return sealed


def _selector(context: TaskContext, job: DatasetJob) -> Selector:
    """Return what the task or the upload behind it states.

    Raises: FailedPrecondition SOURCE_INVALID or CHECKSUM_MISMATCH; InvalidRequest.
    """
    task, upload = job.erase, job.inputs.identifiers
    if not upload.key:
        return selector_of_task(task.sources, task.documents, "")
    try:
        data = context.objects.get_bytes(upload.key)
    except NotFound as error:
        raise FailedPrecondition(
            f"the identifiers of {task.identifiers} are not there: PUT them before the job is made, and do not "
            "complete the upload; they are kept for a day at most",
            reason="SOURCE_INVALID",
            resource=task.identifiers,
        ) from error
    if hashlib.sha256(data).hexdigest() != upload.sha256:
        raise FailedPrecondition(
            f"what was PUT for {task.identifiers} is not what was announced",
            reason="CHECKSUM_MISMATCH",
            resource=task.identifiers,
        )
    return read_identifiers(data)


def _documents(gone: Gone, selector: Selector) -> Iterable[ErasedDocument]:
    for record in gone.records:
        yield ErasedDocument(
            id=record["id"],
            source="" if selector.is_in(record["source"]) else record["source"],
            split=record["split"],
            rows=len(gone.rows.get(record["id"], [])),
            pieces=gone.tokens.pieces.get(record["number"], []),
        )


def _holders(
    blobs: Blobs, related: Iterable[PinnedVersion], documents: Iterable[ErasedDocument]
) -> list[PinnedVersion]:
    """Return the versions that have one of the documents; an id is the digest of a text, so that is exact."""
    ids = {document.id.encode() for document in documents}
    found = []
    for version in related:
        data = blobs.get_bytes(read_manifest(blobs, version.manifest).file("documents.jsonl").ref)
        at = data.find(b'"id":"')
        while at >= 0:
            if data[at + 6 : at + 38] in ids:
                found.append(version)
                break
            at = data.find(b'"id":"', at + 38)
    return found


def _trace(receipt: ErasureReceipt, lineage: Lineage, holders: Sequence[PinnedVersion]) -> None:
    """Name what holds the documents and what learned from them, as far as the lineage knew."""
    nodes = {node.name: node for node in lineage.nodes}
    edges = [(edge.source, edge.target, edge.relation) for edge in lineage.edges]
    digests = {receipt.dataset_version: receipt.old_sha256, **{v.name: v.manifest.sha256 for v in holders}}
    receipt.held_by.extend(
        LineageNode(name=name, kind="datasetVersions", sha256=sha256) for name, sha256 in digests.items()
    )
    suites = reached(edges, digests, frozenset({"cases_of"}))
    ancestors = reached([(target, source, relation) for source, target, relation in edges], digests, _MADE)
    models = reached(edges, {*digests, *ancestors}, _LEARNED)  # a version made from another holds no more than that
    deployments = reached(edges, models, frozenset({"deploys"}))
    receipt.held_by.extend(nodes[name] for name in suites)
    receipt.models.extend(nodes[name] for name in models)
    receipt.deployments.extend(nodes[name] for name in deployments)
