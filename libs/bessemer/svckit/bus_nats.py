"""The bus over NATS JetStream: one stream per service, CloudEvents 1.0 in binary mode."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError

from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.kernel.errors import InvalidRequest, Unavailable
from bessemer.kernel.ids import collection_of, id_of, project_of
from bessemer.svckit.bus import Handler, Position

__all__ = ["NatsBus", "event_of", "headers_of", "subject_of"]

CONNECT_LIMIT_S = 5.0
REQUEST_LIMIT_S = 5.0
FETCH_S = 5.0
FETCH_EVENTS = 32
RETRY_S = 1.0
ACK_WAIT_S = 30.0
STREAM_BYTES_MAX = 256 << 20
DAY_S = 86_400.0
_STREAM_DIFFERS = 10058  # JetStream's error code: name taken by a stream with another configuration
_TOKEN = re.compile(r"[^A-Za-z0-9_-]")

_log = logging.getLogger(__name__)


class NatsBus:
    """A connection that is made when first needed and then kept for ever."""

    def __init__(self, url: str, *, service: str) -> None:
        self._url, self._service = url, service
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, batch: Sequence[EventRecord]) -> None:
        """See `Bus`."""
        async with self._jetstream() as jetstream:
            stream = stream_of(self._service)
            results = await asyncio.gather(
                *(
                    jetstream.publish(
                        subject_of(event),
                        event.payload,
                        timeout=REQUEST_LIMIT_S,
                        stream=stream,
                        headers=headers_of(event),
                    )
                    for event in batch
                ),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def position(self) -> Position:
        """See `Bus`."""
        async with self._jetstream() as jetstream:
            info = await _ensure_stream(jetstream, self._service)
            created = info.created.isoformat() if info.created else ""
            return Position(created, info.state.last_seq)

    async def subscribe(self, service: str, durable: str, handler: Handler) -> None:
        """See `Bus`."""
        while True:
            try:
                async with self._jetstream() as jetstream:
                    await _ensure_stream(jetstream, service)
                    await self._pull(jetstream, service, durable, handler)
            except Unavailable as error:
                _log.info("bus: no events of %s for now (%s)", service, error.message)
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """See `Bus`."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(client.close(), CONNECT_LIMIT_S)

    async def _pull(self, jetstream: JetStreamContext, service: str, durable: str, handler: Handler) -> None:
        config = api.ConsumerConfig(
            ack_policy=api.AckPolicy.EXPLICIT,
            deliver_policy=api.DeliverPolicy.ALL,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=256,
            max_deliver=-1,  # dead letters are ours to decide, never the broker's
        )
        subject = f"evt.v1.*.{service}.>"
        subscription = await jetstream.pull_subscribe(
            subject, durable=durable, stream=stream_of(service), config=config
        )
        try:
            while True:
                try:
                    messages = await subscription.fetch(FETCH_EVENTS, timeout=FETCH_S)
                except TimeoutError:
                    await subscription.consumer_info()  # a consumer that is gone shows as silence only
                    continue
                for message in messages:
                    await _deliver(message, handler)
        finally:
            with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
                await subscription.unsubscribe()

    @asynccontextmanager
    async def _jetstream(self) -> AsyncIterator[JetStreamContext]:
        """Lend the connection and turn its errors into Unavailable."""
        try:
            yield (await self._connect()).jetstream(timeout=REQUEST_LIMIT_S)
        except (TimeoutError, NatsError, OSError) as error:
            raise Unavailable(
                f"NATS at {self._url} does not answer ({error or type(error).__name__}); retrying"
            ) from error

    async def _connect(self) -> Client:
        async with self._connecting:
            if self._client is not None and not self._client.is_closed:
                return self._client
            client = Client()
            try:
                # Without a limit the first connect would wait as patiently as all later ones do.
                await asyncio.wait_for(
                    client.connect(
                        self._url,
                        name=f"{self._service}_svc",
                        max_reconnect_attempts=-1,
                        reconnect_time_wait=1,
                        connect_timeout=2,
                        error_cb=_quiet,
                    ),
                    CONNECT_LIMIT_S,
                )
            except BaseException:
                with contextlib.suppress(Exception):
                    await client.close()
                raise
            self._client = client
            return client


def stream_of(service: str) -> str:
    """Return the name of a service's stream."""
    return f"EVT_{service.upper()}"


def subject_of(event: EventRecord) -> str:
    """Return `evt.v1.<project>.<service>.<collection>.<id>.<verb>`."""
    _, service, _, verb, _ = event.type.split(".")
    parts = (project_of(event.resource), service, collection_of(event.resource), id_of(event.resource), verb)
    return ".".join(["evt", "v1", *(_TOKEN.sub("_", part) for part in parts)])


def headers_of(event: EventRecord) -> dict[str, str]:
    """Return the headers of an event: CloudEvents' NATS binding, binary mode."""
    service = event.type.split(".")[1]
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": f"//{service}.bessemer/projects/{project_of(event.resource)}",
        "subject": event.resource,
        "time": event.time,
        "datacontenttype": "application/protobuf",
        "sequence": str(event.revision),
        "logsequence": str(event.sequence),
        "project": project_of(event.resource),
    }
    headers = {f"ce-{name}": quote(value, safe="/:;,.=@+-_ ").strip() for name, value in attributes.items()}
    if event.traceparent:
        headers["traceparent"] = event.traceparent
    return headers | {"Nats-Msg-Id": event.id}


def event_of(headers: dict[str, str], payload: bytes) -> EventRecord:
    """Return the event that a message carries.

    Raises: InvalidRequest if it carries none.
    """
    try:
        facts = {name: unquote(headers[f"ce-{name}"]) for name in ("id", "type", "subject", "time")}
        return EventRecord(
            sequence=int(headers["ce-logsequence"]),
            id=facts["id"],
            type=facts["type"],
            resource=facts["subject"],
            revision=int(headers["ce-sequence"]),
            time=facts["time"],
            payload=payload,
            traceparent=headers.get("traceparent", ""),
        )
    except (KeyError, ValueError) as error:
        raise InvalidRequest(f"the message is no event of ours: {error!r}") from error


async def _ensure_stream(jetstream: JetStreamContext, service: str) -> api.StreamInfo:
    try:
        return await jetstream.stream_info(stream_of(service))
    except NotFoundError:
        pass
    config = api.StreamConfig(
        name=stream_of(service),
        subjects=[f"evt.v1.*.{service}.>"],
        storage=api.StorageType.FILE,
        retention=api.RetentionPolicy.LIMITS,
        max_age=30 * DAY_S,
        max_bytes=STREAM_BYTES_MAX,
        duplicate_window=2 * 3600.0,
        deny_delete=True,
    )
    try:
        return await jetstream.add_stream(config)
    except APIError as error:
        if error.err_code == _STREAM_DIFFERS:  # somebody else was faster
            return await jetstream.stream_info(stream_of(service))
        raise


async def _deliver(message: Msg, handler: Handler) -> None:
    try:
        event = event_of(message.headers or {}, message.data)
    except InvalidRequest:
        _log.warning("bus: a message on %s is no event; dropped", message.subject)
        await message.term()
        return
    try:
        await handler(event)
    except Exception as error:  # noqa: BLE001 - a handler may fail in any way
        _log.info("bus: event %s comes again later (%r)", event.id, error)
        await message.nak(delay=RETRY_S)
    else:
        await message.ack()


async def _quiet(error: Exception) -> None:
    _log.debug("nats: %r", error)
