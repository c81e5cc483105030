"""Exported models as files that prove what they are: an archive, what lies in it, and who says so."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from bessemer.artifacts.attestation import Statement
from bessemer.artifacts.blobs import sha256_of
from bessemer.kernel.errors import DataLoss, InvalidRequest

__all__ = ["ARCHIVE", "PREDICATE_TYPE", "SUMS", "checksums", "digests_of", "verify_bundle"]

PREDICATE_TYPE = "urn:bessemer:model-export:v1"
ARCHIVE = "archive"  # name of the archive itself among the subjects of the statement
SUMS = "SHA256SUMS"
_BLOCK = 1 << 20


def checksums(digests: Mapping[str, str]) -> str:
    """Return the text that `sha256sum --check` reads."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def digests_of(path: Path) -> dict[str, str]:
    """Return path and SHA-256 of every file in a tar file or folder; of a tar file also its own, as `archive`.

    Raises: InvalidRequest for what is neither; DataLoss for an archive with links, odd paths or a file twice.
    """
    if path.is_dir():
        return {each.relative_to(path).as_posix(): sha256_of(each) for each in path.rglob("*") if each.is_file()}
    if not path.is_file():
        raise InvalidRequest(f"there is no file or folder {path}", field="bundle")
    found = {ARCHIVE: sha256_of(path)}
    try:
        with tarfile.open(path) as tar:
            for entry in tar:
                stream = tar.extractfile(entry) if entry.isfile() else None
                if stream is None or entry.name in found:
                    raise DataLoss(f"{path.name} holds {entry.name!r}, which is no plain file or comes twice")
                found[entry.name] = _digest(stream)
    except tarfile.TarError as error:
        raise InvalidRequest(f"{path.name} is not a readable tar file: {error}", field="bundle") from None
    return found


def verify_bundle(digests: Mapping[str, str], statement: Statement) -> None:
    """Let pass what the statement says, all of it and nothing else; the archive itself need not be there.

    Raises: DataLoss CHECKSUM_MISMATCH naming the first file that is changed, missing or extra.
    """
    if statement.predicate_type != PREDICATE_TYPE:
        raise InvalidRequest(f"the attestation states a {statement.predicate_type}, no export", field="attestation")
    stated = dict(statement.subjects)
    if ARCHIVE not in digests:
        stated.pop(ARCHIVE, None)
    for name in sorted(stated.keys() | digests.keys(), key=lambda each: (each == ARCHIVE, each)):
        if digests.get(name) == stated.get(name):
            continue
        change = "is missing" if name not in digests else "was added" if name not in stated else "was changed"
        raise DataLoss(f"{name} {change} since the model was exported; export it again", file=name)


def _digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
