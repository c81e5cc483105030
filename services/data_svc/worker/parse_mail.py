"""E-mail, one message or a mailbox of them: each message a document, each attachment a file of its own.

Source: RFC 5322 (messages), RFC 2045 (parts), RFC 4155 (mailboxes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from pathlib import Path

from data_svc.domain.decoding import Decoded, decode
from data_svc.domain.formats import HEAD_BYTES, Format, sniff
from data_svc.domain.mail import own_text
from data_svc.domain.reasons import Reason
from data_svc.worker.lines import LongLine, lines
from data_svc.worker.parts import Parser, Part, cut_parts, held_parts

__all__ = ["read_mail"]

_HEADERS = ("From", "To", "Date", "Subject")
_HEADER_CHARACTERS_MAX = 2000  # their parsers take quadratic time
_MESSAGE_BYTES_MAX = 64_000_000
_DEPTH_MAX = 3
_NESTED = {Format.TAR, Format.GZIP, Format.ZIP, Format.EMAIL, Format.MBOX, Format.WARC}


def read_mail(file: Path, found: Format, parse: Parser, to_markdown: Callable[[str], str]) -> Iterator[Part]:
    """Yield the messages of a file, and what `parse` makes of their attachments; one bad message spoils no other.

    `to_markdown` reads HTML, for messages that come in nothing else.
    """
    reader = _Reader(parse, to_markdown)
    if found == Format.EMAIL:
        yield from reader.read(file.read_bytes(), "")
        return
    for number, data in enumerate(_messages(file), 1):
        suffix = f"#message{number}"
        if isinstance(data, int):
            detail = f"a message of {data} bytes; {_MESSAGE_BYTES_MAX} are allowed"
            yield Part(suffix=suffix, reason=Reason.PARSE_FAILED, detail=detail, size_bytes=data)
        else:
            yield from reader.read(data, suffix)


def _messages(file: Path) -> Iterator[bytes | int]:
    """Yield the messages of a mailbox, the length alone of one that is too long."""
    held: list[bytes] = []
    size = 0
    blank = True
    for line in lines(file):
        if isinstance(line, LongLine):
            size += line.size_bytes
        elif blank and line.startswith(b"From "):
            if size:
                yield b"".join(held) if size <= _MESSAGE_BYTES_MAX else size
            held, size = [], 0
        else:
            size += len(line)
            if size <= _MESSAGE_BYTES_MAX:
                held.append(line[1:] if line.startswith(b">From ") else line)
            blank = not line.strip()
    if size:
        yield b"".join(held) if size <= _MESSAGE_BYTES_MAX else size


class _Reader:
    """Reads messages and, through the parser of files, their attachments."""

    def __init__(self, parse: Parser, to_markdown: Callable[[str], str]) -> None:
        self._parse = parse
        self._to_markdown = to_markdown

    def read(self, data: bytes, suffix: str) -> Iterator[Part]:
        try:
            message = message_from_bytes(data, policy=_Policy())
            assert isinstance(message, EmailMessage)  # what the policy makes
            yield from self._message(message, suffix, 0)
        except Exception as error:  # noqa: BLE001 - the parser of headers and parts raises nearly anything
            detail = f"{type(error).__name__}: {error}"[:500]
            yield Part(suffix=suffix, reason=Reason.PARSE_FAILED, detail=detail, size_bytes=len(data))

    def _message(self, message: EmailMessage, suffix: str, depth: int) -> Iterator[Part]:
        headers = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
        body = message.get_body(("plain", "html"))
        decoded = _decode(body) if body is not None else Decoded("", "", 0)
        is_html = body is not None and body.get_content_type() == "text/html"
        text = own_text(self._to_markdown(decoded.text) if is_html else decoded.text)
        if text:
            yield from cut_parts("\n".join(headers) + "\n\n" + text, Format.EMAIL, decoded.num_replaced, suffix)
        else:
            detail = "a message without text of its own"
            yield Part(suffix=suffix, reason=Reason.EMPTY, detail=detail, size_bytes=len(decoded.text))
        kind = message.get_content_maintype()
        attachments = message.iter_attachments() if kind == "multipart" else [message] if kind == "message" else []
        for number, attachment in enumerate(attachments, 1):
            yield from self._attachment(attachment, f"{suffix}#attachment{number}", depth)

    def _attachment(self, part: Message, suffix: str, depth: int) -> Iterator[Part]:
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload(0)
            if depth >= _DEPTH_MAX or not isinstance(inner, EmailMessage):
                detail = f"messages inside messages, over {_DEPTH_MAX} deep"
                yield Part(suffix=suffix, reason=Reason.ARCHIVE_NESTED, detail=detail)
            else:
                yield from self._message(inner, suffix, depth + 1)
            return
        data = part.get_payload(decode=True)
        if not isinstance(data, bytes) or not data:
            yield Part(suffix=suffix, reason=Reason.EMPTY, detail="an attachment without bytes")
            return
        name = (part.get_filename() or part.get_content_subtype()).replace("/", "_").replace("\\", "_")[-80:]
        yield from self._file(data, name, f"{suffix}:{name}")

    def _file(self, data: bytes, name: str, suffix: str) -> Iterator[Part]:
        found, what = sniff(data[:HEAD_BYTES], name)
        refusals = {Format.BINARY: Reason.BINARY, Format.UNSUPPORTED: Reason.UNSUPPORTED_FORMAT}
        reason = Reason.ARCHIVE_NESTED if found in _NESTED else refusals.get(found)
        if reason:
            detail = what or f"a {found} file inside a message"
            yield Part(suffix=suffix, reason=reason, detail=detail, size_bytes=len(data))
            return
        for part in held_parts(data, found, self._parse):
            yield replace(part, suffix=suffix + part.suffix)


class _Policy(policy.EmailPolicy):
    """The standard policy for headers of bounded length."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        return super().header_source_parse(["".join(sourcelines)[:_HEADER_CHARACTERS_MAX]])


def _header(message: EmailMessage, name: str) -> str:
    try:
        value = str(message[name] or "")
    except Exception:  # noqa: BLE001 - the header is broken; it is kept as it stands
        value = next(str(raw) for key, raw in message.raw_items() if key.lower() == name.lower())
    return " ".join(value.split())


def _decode(part: Message) -> Decoded:
    """Return the text of a part: in the declared encoding if that fits, else in the likeliest."""
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return Decoded("", "", 0)
    declared = part.get_content_charset("utf-8")
    try:
        return Decoded(data.decode(declared), declared, 0)
    except (LookupError, UnicodeDecodeError):
        return decode(data)
