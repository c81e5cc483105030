"""Whether the files that a worker names are really there; without this a crash could make a success of half a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.kernel.errors import DataLoss, Internal, NotFound
from bessemer.kernel.ids import project_of
from bessemer.svckit.objects import ObjectStore

__all__ = ["verify_artifacts"]

# Manifests are read in full; they carry the digests of everything big, which every reader checks.
_DIGEST_BELOW_BYTES = 1 << 20


def verify_artifacts(objects: ObjectStore, job: str, refs: Iterable[ArtifactRef]) -> None:
    """Check that every artifact of a job lies in the object store with the stated size, small ones byte for byte.

    Raises: DataLoss if one does not; Internal if one belongs to another project.
    """
    prefix = f"projects/{project_of(job)}/"
    for ref in refs:
        if not ref.key.startswith(prefix):
            raise Internal(f"artifact {ref.key[:200]!r} of {job} lies outside of {prefix}")
        try:
            size_bytes = objects.stat(ref.key)
            data = objects.get_bytes(ref.key) if size_bytes < _DIGEST_BELOW_BYTES else None
        except NotFound as error:
            raise DataLoss(f"artifact {ref.key} is not in the object store", resource=ref.key) from error
        if size_bytes != ref.size_bytes:
            raise DataLoss(f"artifact {ref.key} has {size_bytes} bytes instead of {ref.size_bytes}", resource=ref.key)
        if data is not None and hashlib.sha256(data).hexdigest() != ref.sha256:
            raise DataLoss(f"the bytes of artifact {ref.key} do not have its digest", resource=ref.key)
