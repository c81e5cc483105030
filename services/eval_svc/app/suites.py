"""Suites: made once from one of four sources, then never changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from importlib import resources

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationSuite
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import MEDIA_TYPE, pack_contamination_set
from bessemer.artifacts.manifest import FileEntry, read_manifest
from bessemer.artifacts.texts import text_parts
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import id_of, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store

from eval_svc import codec
from eval_svc.config import (
    CASES_BYTES_MAX,
    HELDOUT_PASSAGES_MAX,
    HELDOUT_QUESTIONS_MAX,
    MAX_TOKENS_DEFAULT,
    MAX_TOKENS_LIMIT,
    PASSAGE_CHARACTERS,
)
from eval_svc.domain.cases import Case, Grader, format_cases, given_away, parse_cases, passages, questions
from eval_svc.domain.options import check_options, judges_of
from eval_svc.domain.statistics import design_effect, smallest_difference
from eval_svc.ports import DataCatalog, JudgeBook

__all__ = ["BUILTIN", "Suites"]

BUILTIN = {"general-knowledge": Grader.PERPLEXITY, "general-choice": Grader.CHOICE}
TEXTS, QUESTIONS = "heldout/texts", "heldout/questions.jsonl"


class Suites:
    """Use cases of suites."""

    def __init__(self, store: Store, objects: ObjectStore, data: DataCatalog, judges: JudgeBook) -> None:
        self._store = store
        self._objects = objects
        self._data = data
        self._judges = judges

    async def create(self, request: pb.CreateEvaluationSuiteRequest) -> EvaluationSuite:
        """Read the cases, check every one, and seal them under their digest."""
        given = request.evaluation_suite
        grader = _grader(request)
        max_tokens = _max_tokens(given, grader)
        if id_of(given.dataset_version).startswith("@"):  # the suite keeps what the alias points at now
            given.dataset_version = (await self._data.version(given.dataset_version)).name
        parts = await asyncio.to_thread(self._check, given, grader)
        cases = await self._cases(request, grader)
        cases = await asyncio.to_thread(parse_cases, format_cases(cases), grader, parts) if parts else cases
        blobs = Blobs(self._objects, id_of(request.parent))
        ref = await asyncio.to_thread(lambda: blobs.put_bytes(format_cases(cases), "application/jsonl"))
        hashes = await asyncio.to_thread(
            lambda: blobs.put_bytes(
                pack_contamination_set((case.cluster, given_away(case, grader)) for case in cases), MEDIA_TYPE
            )
        )
        design = design_effect([case.cluster for case in cases])
        perplexity = grader is Grader.PERPLEXITY
        suite = EvaluationSuite(
            name=f"{request.parent}/evaluationSuites/{request.evaluation_suite_id}",
            display_name=given.display_name,
            grader=codec.KINDS[grader],
            cases=ref,
            num_cases=len(cases),
            max_tokens=max_tokens,
            dataset_version=given.dataset_version,
            higher_is_better=not perplexity,
            mde=0.0 if perplexity else smallest_difference(len(cases), design=design),
            sealed=given.sealed,
            contamination_hashes=hashes,
            options=given.options if given.HasField("options") else None,
        )
        return await self._store.write(lambda tx: tx.put(suite, verb="created"))

    async def get(self, name: str) -> EvaluationSuite:
        """Return a suite."""
        return await self._store.read(lambda tx: tx.get(name, EvaluationSuite))

    async def page(self, request: pb.ListEvaluationSuitesRequest) -> pb.ListEvaluationSuitesResponse:
        """Return a page of a project's suites."""
        found, token = await self._store.read(
            lambda tx: tx.list(
                EvaluationSuite, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        )
        return pb.ListEvaluationSuitesResponse(evaluation_suites=found, next_page_token=token)

    def _check(self, given: EvaluationSuite, grader: Grader) -> list[Grader]:
        judges = self._judges.judges()
        parts = check_options(grader, given.options, codec.stated_grader, judges=judges)
        for name in judges_of(given.options) if given.sealed else ():
            if not judges[name].inside:
                raise InvalidRequest(
                    f"judge {name!r} is not inside, so sealed cases cannot go there; name one that is",
                    field="evaluation_suite.sealed",
                )
        return parts

    async def _cases(self, request: pb.CreateEvaluationSuiteRequest, grader: Grader) -> list[Case]:
        version = request.evaluation_suite.dataset_version
        match request.WhichOneof("cases"):
            case "upload":
                return await self._from_upload(request.upload, grader)
            case "heldout_text":
                parts, num_max = await self._heldout(version, TEXTS), request.num_cases_max or HELDOUT_PASSAGES_MAX
                return await asyncio.to_thread(self._from_texts, parts, num_max)
            case "heldout_questions":
                [entry] = await self._heldout(version, QUESTIONS)
                num_max = request.num_cases_max or HELDOUT_QUESTIONS_MAX
                return await asyncio.to_thread(self._from_questions, entry, grader, num_max)
            case _:
                data = resources.files("eval_svc.worker.suites").joinpath(f"{request.builtin}.jsonl").read_bytes()
                return parse_cases(data, grader)

    async def _from_upload(self, name: str, grader: Grader) -> list[Case]:
        upload = await self._data.upload(name)
        if not upload.complete:
            raise FailedPrecondition(
                f"{name} is not complete; PUT its bytes, then call CompleteUpload",
                reason="SOURCE_INVALID",
                resource=name,
            )
        data = await asyncio.to_thread(self._read, upload.artifact)
        return await asyncio.to_thread(parse_cases, data, grader)

    async def _heldout(self, version: str, path: str) -> Sequence[FileEntry]:
        """Return the entries of what is held out: the parts of `TEXTS`, or the file of `QUESTIONS`.

        Raises: InvalidRequest without a version; FailedPrecondition if the version holds nothing of it out.
        """
        if not version:
            raise InvalidRequest(
                "held-out cases come from a dataset version; name it", field="evaluation_suite.dataset_version"
            )
        found = await self._data.version(version)
        if not found.manifest.sha256:
            raise FailedPrecondition(f"{version} is not sealed", reason="VERSION_NOT_SEALED", resource=version)
        manifest = await asyncio.to_thread(
            read_manifest, Blobs(self._objects, project_of(found.manifest.key)), found.manifest
        )
        entries = text_parts(manifest, "heldout") if path == TEXTS else manifest.below(path)
        if not any(entry.size_bytes for entry in entries):
            kind = "TEXT" if path == TEXTS else "CHAT"
            raise FailedPrecondition(
                f"{version} has no {path}; use a {kind} version that holds out more documents",
                reason="DATASET_EMPTY",
                resource=version,
            )
        return entries

    def _from_texts(self, parts: Sequence[FileEntry], num_max: int) -> list[Case]:
        chosen = passages(self._documents(parts), characters=PASSAGE_CHARACTERS, num_max=num_max)
        # Read back, so that what is stored has met the same rules as an upload.
        return parse_cases(format_cases(chosen), Grader.PERPLEXITY)

    def _documents(self, parts: Sequence[FileEntry]) -> Iterator[tuple[str, str]]:
        """Yield id and text of each document, with one part at a time in memory."""
        for entry in parts:
            for line in Blobs(self._objects, project_of(entry.key)).get_bytes(entry.ref).splitlines():
                record = json.loads(line)
                yield str(record["id"]), record["text"]

    def _from_questions(self, entry: FileEntry, grader: Grader, num_max: int) -> list[Case]:
        return questions(self._read(entry.ref), grader, num_max=num_max)

    def _read(self, ref: ArtifactRef) -> bytes:
        if ref.size_bytes > CASES_BYTES_MAX:
            raise InvalidRequest(
                f"cases must be at most {CASES_BYTES_MAX} bytes; got {ref.size_bytes}; split the suite", field="cases"
            )
        return Blobs(self._objects, project_of(ref.key)).get_bytes(ref)


def _grader(request: pb.CreateEvaluationSuiteRequest) -> Grader:
    """Return the grader, which some sources imply.

    Raises: InvalidRequest if there is no source, or the grader does not go with it.
    """
    kind, source = request.evaluation_suite.grader, request.WhichOneof("cases")
    wanted = codec.stated_grader(kind)
    if source == "builtin" and request.builtin not in BUILTIN:
        raise InvalidRequest(f"builtin must be one of {', '.join(BUILTIN)}; got {request.builtin!r}", field="builtin")
    if source is None or (source.startswith("heldout") and not getattr(request, source)):
        raise InvalidRequest("say where the cases come from: upload, builtin, or what is held out", field="cases")
    implied = {
        "builtin": BUILTIN.get(request.builtin),
        "heldout_text": Grader.PERPLEXITY,
        "heldout_questions": Grader.EXACT if wanted in {None, Grader.PERPLEXITY} else wanted,
    }.get(source)
    if wanted is None and implied is None:
        raise InvalidRequest("say how the cases are judged", field="evaluation_suite.grader")
    if wanted and implied and wanted is not implied:
        raise InvalidRequest(
            f"evaluation_suite.grader must be {implied.upper()} for these cases; got {wanted.upper()}",
            field="evaluation_suite.grader",
        )
    if wanted is Grader.RECORDED and source != "upload":
        raise InvalidRequest("cases whose marks another tool records are uploaded", field="evaluation_suite.grader")
    return wanted or implied or Grader.EXACT


def _max_tokens(given: EvaluationSuite, grader: Grader) -> int:
    if grader in {Grader.PERPLEXITY, Grader.CHOICE, Grader.RECORDED}:
        return 0
    if not 0 <= given.max_tokens <= MAX_TOKENS_LIMIT:
        raise InvalidRequest(
            f"evaluation_suite.max_tokens must be 1 to {MAX_TOKENS_LIMIT}, or 0 for {MAX_TOKENS_DEFAULT}; "
            f"got {given.max_tokens}",
            field="evaluation_suite.max_tokens",
        )
    return given.max_tokens or MAX_TOKENS_DEFAULT
