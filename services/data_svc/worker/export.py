"""A version as Parquet files that DuckDB, Spark, polars and Hugging Face's loaders read."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, DatasetJobResult
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, canonical_json, fetch, read_manifest
from bessemer.artifacts.texts import is_text_part, text_files
from bessemer.jobs.worker import Done, TaskContext

from data_svc.domain.splitting import HELDOUT, TRAIN
from data_svc.domain.terms import TERMS

__all__ = ["export", "write_parquet"]

_BATCH_ROWS = 1000
_MESSAGES = pa.list_(pa.struct([("role", pa.large_string()), ("content", pa.large_string())]))
_SCHEMAS = {
    "TEXT": pa.schema([(name, pa.large_string()) for name in ("id", "source", "text")]),
    "CHAT": pa.schema([("messages", _MESSAGES)]),
    "PREFERENCE": pa.schema([("prompt", _MESSAGES), ("chosen", pa.large_string()), ("rejected", pa.large_string())]),
    "THUMBS": pa.schema([("prompt", _MESSAGES), ("completion", pa.large_string()), ("label", pa.bool_())]),
}


def export(context: TaskContext, job: DatasetJob, blobs: Blobs) -> Done:
    """Write the job's version as Parquet into a tar archive."""
    manifest = read_manifest(blobs, job.inputs.manifest)
    folder = context.workdir / "export"
    shutil.rmtree(folder, ignore_errors=True)
    context.report(stage="fetching", fraction=0.1)
    wanted = [
        e.path
        for e in manifest.files
        if e.path == "documents.jsonl" or e.path.endswith("/rows.jsonl") or is_text_part(e.path)
    ]
    source = fetch(blobs, manifest, folder / "source", wanted)
    context.report(stage="writing parquet", fraction=0.5)
    paths = write_parquet(source, manifest, folder / "parquet")
    with tarfile.open(folder / "export.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            tar.add(path, path.relative_to(folder / "parquet").as_posix(), filter=_anonymous)
    archive = blobs.put_file(folder / "export.tar", "application/x-tar")
    shutil.rmtree(folder)
    return Done(DatasetJobResult(archive=archive), [archive])


def write_parquet(source: Path, manifest: Manifest, target: Path) -> list[Path]:
    """Write `<split>.parquet` of each split below `source`, and `manifest.json`; return the files.

    Columns: `id, source, text`, or those of the rows: `messages`, `prompt, chosen, rejected`, or `prompt, completion,
    label`; and `license, consent,
    retain_until` of texts if the owner of any states them.
    """
    target.mkdir(parents=True)
    paths = [target / "manifest.json"]
    paths[0].write_bytes(canonical_json(dict(manifest.facts)))
    schema = _SCHEMAS["THUMBS" if _is_of_thumbs(manifest) else str(manifest.facts["kind"])]
    terms = _terms(source / "documents.jsonl") if manifest.facts["kind"] == "TEXT" else {}
    for name in TERMS if terms else ():
        schema = schema.append(pa.field(name, pa.string()))
    for split in (HELDOUT, TRAIN):
        files = [*text_files(source, split), *source.glob(f"{split}/rows.jsonl")]
        if not files:
            continue
        paths.append(target / f"{split}.parquet")
        with pq.ParquetWriter(paths[-1], schema, compression="zstd") as writer:
            rows = _rows(files, schema, terms)
            while batch := list(islice(rows, _BATCH_ROWS)):
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema))
    return paths


def _is_of_thumbs(manifest: Manifest) -> bool:
    feedback = manifest.facts.get("feedback")
    return isinstance(feedback, dict) and feedback["form"] == "THUMBS"


def _terms(file: Path) -> dict[str, dict[str, str]]:
    """Return what the owners of documents state, by id."""
    if not file.is_file():
        return {}
    with file.open("rb") as lines:
        found = {record["id"]: {n: record[n] for n in TERMS if n in record} for record in map(json.loads, lines)}
    return {id_: terms for id_, terms in found.items() if terms}


def _rows(files: Sequence[Path], schema: pa.Schema, terms: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                row = json.loads(line)
                row = {**dict.fromkeys(TERMS, ""), **row, **terms.get(row.get("id", ""), {})}
                yield {name: row[name] for name in schema.names}


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take who and when out, so that equal versions make equal archives."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
