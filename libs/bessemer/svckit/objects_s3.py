"""Objects in an S3 bucket, for clusters: created once by a conditional put, verified when read."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError

from bessemer.kernel.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    LimitReached,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from bessemer.svckit.objects import ObjectsConfig, ObjectStore, check_key, check_prefix

__all__ = ["S3Objects", "check_contract"]

TIMEOUT = urllib3.Timeout(connect=5, read=10)
PART_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
_SHA256 = "x-amz-meta-sha256"
_ONCE = {"If-None-Match": "*"}
_MISSING = {"NoSuchKey", "NoSuchBucket", "NotFound"}
_FORBIDDEN = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_FULL = {"XMinioStorageFull", "InsufficientStorage", "EntityTooLarge", "QuotaExceeded"}


class S3Objects:
    """An object store in one bucket of any S3 server that honours `If-None-Match`."""

    def __init__(self, config: ObjectsConfig) -> None:
        parts = urlsplit(config.url)
        self._bucket = parts.path.strip("/")
        self._config = config
        self._client: Any = Minio(
            parts.netloc,
            access_key=config.access_key or None,
            secret_key=config.secret_key or None,
            secure=parts.scheme == "s3+https",
            region="us-east-1",
            http_client=urllib3.PoolManager(
                timeout=TIMEOUT,
                maxsize=16,
                retries=urllib3.Retry(total=2, read=1, backoff_factor=0.2, status_forcelist=[502, 503]),
            ),
        )
        with self._errors(self._bucket):
            if not self._client.bucket_exists(bucket_name=self._bucket):
                self._make_bucket()

    @property
    def config(self) -> ObjectsConfig:
        """See `ObjectStore`."""
        return self._config

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        check_key(key)
        digest = hashlib.sha256(data).hexdigest()
        with self._errors(key):
            try:
                # put_object() of the SDK sends the condition as metadata, which overwrites without an error.
                self._client._put_object(self._bucket, key, data, headers={**_ONCE, _SHA256: digest})  # noqa: SLF001
            except S3Error as error:
                if not _exists(error):
                    raise
                self._check_same(key, digest)

    def put_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        check_key(key)
        if path.stat().st_size <= PART_BYTES:
            self.put_bytes(key, path.read_bytes())
            return
        digest = _digest(path)
        with self._errors(key):
            try:
                self._client.stat_object(self._bucket, key)
            except S3Error as error:
                if error.code not in _MISSING:
                    raise
                self._put_parts(key, path, digest)
            else:
                self._check_same(key, digest)

    def move_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        self.put_file(key, path)
        path.unlink()

    def get_bytes(self, key: str) -> bytes:
        """See `ObjectStore`.

        Raises: DataLoss if the bytes are not those that were put.
        """
        digest, chunks = hashlib.sha256(), []
        with self._open(key) as (response, wanted):
            for chunk in response.stream(CHUNK_BYTES):
                digest.update(chunk)
                chunks.append(chunk)
        _verify(key, digest.hexdigest(), wanted)
        return b"".join(chunks)

    def get_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`.

        Raises: DataLoss if the bytes are not those that were put.
        """
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        digest = hashlib.sha256()
        try:
            with self._open(key) as (response, wanted), aside.open("xb") as stream:
                for chunk in response.stream(CHUNK_BYTES):
                    digest.update(chunk)
                    stream.write(chunk)
            _verify(key, digest.hexdigest(), wanted)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        with self._errors(key):
            try:
                response = self._client.get_object(self._bucket, check_key(key), offset=start, length=length)
            except S3Error as error:
                if error.code == "InvalidRange":  # begins at the end or behind it
                    return b""
                raise
            try:
                data: bytes = response.read()
                return data
            finally:
                response.close()
                response.release_conn()

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002
        """See `ObjectStore`."""
        return None

    def stat(self, key: str) -> int:
        """See `ObjectStore`."""
        with self._errors(key):
            return int(self._client.stat_object(self._bucket, check_key(key)).size)

    def list(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore`."""
        check_prefix(prefix)
        with self._errors(prefix):
            found = [
                each.object_name for each in self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            ]
        yield from sorted(key for key in found if not key.endswith("/"))  # servers on a file system sort by folder

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        with contextlib.suppress(NotFound), self._errors(key):
            self._client.remove_object(self._bucket, check_key(key))

    def signed_url(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        *,
        expires_s: int,
        size_bytes: int | None = None,  # noqa: ARG002 - not signed: whoever accepts an upload checks size and digest
        sha256: str | None = None,  # noqa: ARG002
    ) -> tuple[str, dict[str, str]]:
        """See `ObjectStore`; the URL leads to the S3 server itself."""
        with self._errors(key):
            url = self._client.get_presigned_url(
                method, self._bucket, check_key(key), expires=timedelta(seconds=expires_s)
            )
        return url, {}

    def _make_bucket(self) -> None:
        try:
            self._client.make_bucket(bucket_name=self._bucket)
        except S3Error as error:
            if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def _put_parts(self, key: str, path: Path, digest: str) -> None:
        client = self._client
        upload = client._create_multipart_upload(self._bucket, key, {_SHA256: digest})  # noqa: SLF001
        try:
            etags: list[str] = []
            with path.open("rb") as stream:
                while part := stream.read(PART_BYTES):
                    etags.append(client._upload_part(self._bucket, key, part, None, upload, len(etags) + 1))  # noqa: SLF001
            parts = "".join(
                f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag></Part>'
                for number, etag in enumerate(etags, start=1)
            )
            client._execute(  # noqa: SLF001 - the SDK's own method takes no condition
                "POST",
                self._bucket,
                key,
                body=f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode(),
                headers={**_ONCE, "Content-Type": "application/xml"},
                query_params={"uploadId": upload},
            )
        except BaseException as error:
            with contextlib.suppress(S3Error, HTTPError, InvalidResponseError, ServerError):
                client._abort_multipart_upload(self._bucket, key, upload)  # noqa: SLF001
            if not (isinstance(error, S3Error) and _exists(error)):
                raise
            self._check_same(key, digest)

    @contextlib.contextmanager
    def _open(self, key: str) -> Iterator[tuple[Any, str]]:
        with self._errors(key):
            response = self._client.get_object(self._bucket, check_key(key))
            try:
                yield response, response.headers.get(_SHA256, "")
            finally:
                response.close()
                response.release_conn()

    def _check_same(self, key: str, digest: str) -> None:
        stored = self._client.stat_object(self._bucket, key).metadata.get(_SHA256, "")
        if not stored:  # put by somebody else, through a signed URL perhaps
            stored = hashlib.sha256(self.get_bytes(key)).hexdigest()
        if stored != digest:
            raise AlreadyExists(
                f"{key} holds other bytes already; objects never change, choose another key", resource=key
            )

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn S3's errors into ours."""
        try:
            yield
        except S3Error as error:
            status = getattr(error.response, "status", 0)
            if error.code in _MISSING:
                raise NotFound(f"object {key} does not exist", resource=key) from error
            if error.code in _FORBIDDEN:
                raise PermissionDenied(
                    f"{self._config.url} refuses our credentials ({error.code}); check them"
                ) from error
            if error.code in _FULL or status == 507:
                raise LimitReached(
                    "the object store is full; free some space and retry", reason="STORAGE_FULL"
                ) from error
            if status and status < 500:
                raise InvalidRequest(
                    f"{self._config.url} refuses {key}: {error.code} {error.message}", field="key"
                ) from error
            raise Unavailable(f"{self._config.url} fails with {error.code}; retry") from error
        except (HTTPError, InvalidResponseError, ServerError) as error:
            raise Unavailable(f"{self._config.url} does not answer ({type(error).__name__}); retry") from error


def check_contract(store: ObjectStore) -> None:
    """Try out what everything else relies on; to be run when a service starts on a new object store.

    Raises: FailedPrecondition naming what the server gets wrong.
    """
    key = f"contract-check/{uuid.uuid4().hex}"
    try:
        store.put_bytes(key, b"first")
        store.put_bytes(key, b"first")
        try:
            store.put_bytes(key, b"other")
        except AlreadyExists:
            pass
        else:
            raise FailedPrecondition("the object store overwrites objects; it must honour If-None-Match")
        if store.get_bytes(key) != b"first" or store.stat(key) != len(b"first"):
            raise FailedPrecondition("the object store returns other bytes than were put")
        if list(store.list(key)) != [key]:
            raise FailedPrecondition("the object store does not list what was just put")
    finally:
        store.delete(key)


def _exists(error: S3Error) -> bool:
    return (
        error.code in {"PreconditionFailed", "ConditionalRequestConflict"}
        or getattr(error.response, "status", 0) == 412
    )


def _verify(key: str, found: str, wanted: str) -> None:
    if wanted and found != wanted:
        raise DataLoss(f"{key} holds other bytes than were put; restore it from a backup", resource=key)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
