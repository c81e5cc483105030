"""Rows of uploads: texts, conversations and pairs, checked one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Message", "Row", "RowInvalid", "is_conversation", "is_row", "read_record", "read_row", "render"]

Message = Mapping[str, str]
_ROLES = ("system", "user", "assistant")
_OTHER_NAMES = {"developer": "system", "human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
_QUESTION_AND_ANSWER = (("question", "answer"), ("prompt", "completion"), ("instruction", "output"))


class RowInvalid(Exception):
    """The row does not fit any documented form; the message says how."""


@dataclass(frozen=True)
class Row:
    """One checked row; `kind` is `TEXT`, `CHAT` or `PREFERENCE` and says which fields are filled."""

    kind: str
    text: str = ""
    messages: Sequence[Message] = ()
    chosen: str = ""
    rejected: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the row as dataset files hold it."""
        if self.kind == "CHAT":
            return {"messages": list(self.messages)}
        if self.kind == "PREFERENCE":
            return {"prompt": list(self.messages), "chosen": self.chosen, "rejected": self.rejected}
        return {"text": self.text}

    def map_text(self, change: Callable[[str], str]) -> Row:
        """Return the row with every text of it changed; roles stay."""
        messages = [{**message, "content": change(message["content"])} for message in self.messages]
        return Row(self.kind, change(self.text), messages, change(self.chosen), change(self.rejected))

    def canonical(self) -> str:
        """Return the row as one line of JSON, the same for rows that mean the same."""
        return json.dumps(self.fields(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read_row(line: str) -> Row:
    """Return the row a line holds.

    Raises: RowInvalid.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowInvalid(f"not JSON: {error}") from error
    return read_record(value)


def is_conversation(value: object) -> bool:
    """Say whether a record is a chat log in OpenAI's form (`messages`) or ShareGPT's (`conversations`)."""
    log = (value.get("messages") or value.get("conversations")) if isinstance(value, dict) else None
    first = log[0] if isinstance(log, list) and log else None
    return isinstance(first, dict) and ("role" in first or "from" in first)


def is_row(value: Mapping[str, Any]) -> bool:
    """Say whether a record has the fields of one of the documented forms, well filled or not."""
    pairs = any(asked in value and answered in value for asked, answered in _QUESTION_AND_ANSWER)
    preference = "chosen" in value and "rejected" in value
    return pairs or preference or is_conversation(value) or isinstance(value.get("text"), str)


def read_record(value: object) -> Row:
    """Return the row a decoded record holds.

    Raises: RowInvalid.
    """
    if not isinstance(value, dict):
        raise RowInvalid(f"a row must be an object; got {type(value).__name__}")
    if "chosen" in value or "rejected" in value:
        return _pair(value)
    for name in ("messages", "conversations"):
        if name in value:
            messages = _messages(value[name], name)
            if messages[-1]["role"] != "assistant":
                raise RowInvalid(f"{name} must end with an answer of the role assistant")
            return Row("CHAT", messages=messages)
    if isinstance(value.get("text"), str):
        if not value["text"].strip():
            raise RowInvalid("text is empty")
        return Row("TEXT", text=value["text"])
    for asked, answered in _QUESTION_AND_ANSWER:
        if asked in value and answered in value:
            turns = [{"role": "user", "content": value[asked]}, {"role": "assistant", "content": value[answered]}]
            return Row("CHAT", messages=_messages(turns, f"{asked} and {answered}"))
    raise RowInvalid(
        "a row must hold text, messages, conversations, question and answer, or prompt, chosen and rejected; got "
        + (", ".join(sorted(map(str, value))[:10]) or "nothing")
    )


def render(row: Row) -> str:
    """Return a conversation as a document."""
    turns = [*row.messages, *([{"role": "assistant", "content": row.chosen}] if row.chosen else [])]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)


def _pair(value: Mapping[str, Any]) -> Row:
    prompt = value.get("prompt")
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    messages = _messages(prompt, "prompt")
    if messages[-1]["role"] != "user":
        raise RowInvalid("prompt must end with a message of the role user")
    for name in ("chosen", "rejected"):
        if not isinstance(value.get(name), str) or not value[name].strip():
            raise RowInvalid(f"{name} must be text that is not empty")
    if value["chosen"].strip() == value["rejected"].strip():
        raise RowInvalid("chosen and rejected are the same")
    return Row("PREFERENCE", messages=messages, chosen=value["chosen"].strip(), rejected=value["rejected"].strip())


def _messages(value: object, name: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise RowInvalid(f"{name} must be a list of messages that is not empty")
    messages: list[Message] = []
    for number, item in enumerate(value):
        role, content = _turn(item)
        if role not in _ROLES:
            raise RowInvalid(f"{name}[{number}].role must be one of {', '.join(_ROLES)}; got {str(role)[:40]!r}")
        if not isinstance(content, str) or not content.strip():
            raise RowInvalid(f"{name}[{number}].content must be text that is not empty")
        if role == "system" and number:
            raise RowInvalid(f"{name}[{number}] is a system message; only the first may be")
        messages.append({"role": role, "content": content.strip()})
    return messages


def _turn(item: object) -> tuple[object, object]:
    """Return the role and the content of a message in OpenAI's form or ShareGPT's, under our names."""
    if not isinstance(item, dict):
        return None, None
    role = item.get("role", item.get("from"))
    content = item.get("content", item.get("value"))
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "\n\n".join(str(part.get("text", "")) for part in content)
    return _OTHER_NAMES.get(role, role) if isinstance(role, str) else role, content
