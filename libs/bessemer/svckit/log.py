"""The process's log: one JSON object per line on stderr, an event name with fields, never a sentence with values in it.

Control characters are stripped, lengths capped and secrets masked here, so that no caller has to think of it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

from bessemer.svckit import context

__all__ = ["error", "info", "setup", "warning"]

_VALUE_MAX = 2_000
_TRACE_MAX = 8_000
_SECRET_KEY = re.compile(
    r"(?i)(^|_)(token|secret|password|authorization|credentials?|private_key|access_key|secret_key)$"
)
_SECRET_VALUE = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r"|(?i:bearer)\s+\S+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password@ in a URL
    r"|(?<=X-Amz-Signature=)\w+"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_RESERVED = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)


class _Output:
    """Where lines go; `setup` fills it in, before that lines go to stderr without a service name."""

    stream: TextIO | None = None
    service = ""


def setup(service: str, *, stream: TextIO | None = None) -> None:
    """Send this process's log lines, and those of libraries from WARNING on, to `stream` or stderr."""
    _Output.service = service
    _Output.stream = stream
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.WARNING)
    for ours in ("bessemer", f"{service}_svc"):
        logging.getLogger(ours).setLevel(logging.INFO)


def info(event: str, **fields: object) -> None:
    """Log something that went as it should."""
    _write("INFO", event, fields)


def warning(event: str, **fields: object) -> None:
    """Log something that somebody should look at some day."""
    _write("WARNING", event, fields)


def error(event: str, *, exc: BaseException | None = None, **fields: object) -> None:
    """Log something that somebody should look at now; `exc` adds the traceback."""
    if exc is not None:
        text = "".join(traceback.format_exception(exc))
        fields["traceback"] = text[-_TRACE_MAX:]
    _write("ERROR", event, fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    line: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": _clean(event),
    }
    if _Output.service:
        line["service"] = _Output.service
    if "request_id" not in fields and (request_id := context.current_request_id()):
        line["request_id"] = request_id
    for key, value in fields.items():
        line[key] = "***" if _SECRET_KEY.search(key) and value else _safe(key, value)
    print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), file=_Output.stream or sys.stderr, flush=True)


def _safe(key: str, value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _clean(str(value), _TRACE_MAX if key == "traceback" else _VALUE_MAX)


def _clean(text: str, length_max: int = _VALUE_MAX) -> str:
    text = _SECRET_VALUE.sub("***", text[: length_max * 2])
    text = _CONTROL.sub(" ", text)
    return text if len(text) <= length_max else text[:length_max] + "…"


class _Bridge(logging.Handler):
    """Carries lines of the standard library's logging over to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        extra = {key: value for key, value in record.__dict__.items() if key not in _RESERVED and key != "message"}
        fields: dict[str, object] = {"logger": record.name, **extra}
        if record.exc_info and record.exc_info[1]:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-_TRACE_MAX:]
        _write(record.levelname, record.getMessage(), fields)
