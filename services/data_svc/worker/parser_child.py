"""The sandboxed process that parses untrusted files; run as `python -m data_svc.worker.parser_child MEMORY_BYTES OUT`.

One request per line on standard input, `{"file", "format", "rows", "cpu_s"}`. The documents go to `OUT.text`, one after
the other, and one JSON line each to `OUT.parts`; the answer is one line, `{"parts"}` or `{"reason", "detail"}`. Both
files are written from their beginning for each request, and what is left there of earlier ones means nothing: to cut a
file to nothing costs more than to parse a page.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any, BinaryIO

from bessemer.jobs import seccomp
from bessemer.kernel.processes import die_with_parent

from data_svc.domain.formats import Format
from data_svc.domain.reasons import Reason
from data_svc.worker.parsers import parse
from data_svc.worker.parts import Part, Refused

_FILE_BYTES_MAX = 4 << 30


def _confine(memory_bytes: int) -> None:
    """Give up memory, core dumps, further files, the network, other programs and life after the parent."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES_MAX, _FILE_BYTES_MAX))
    die_with_parent()
    if refused := seccomp.install(seccomp.without_network()):
        logging.getLogger(__name__).warning("parsers can reach the network: %s", refused)


def _allow_cpu(seconds: int) -> None:
    """Let the next file use this many more seconds; going over ends the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _answer(request: dict[str, Any], texts: BinaryIO, parts: BinaryIO) -> dict[str, Any]:
    _allow_cpu(int(request["cpu_s"]))
    texts.seek(0)
    parts.seek(0)
    number = 0
    try:
        for part in parse(Path(request["file"]), Format(request["format"]), rows=request["rows"]):
            data = part.text.encode("utf-8", errors="replace")  # lone surrogates out of JSON escapes
            texts.write(data)
            parts.write(json.dumps(_record(part, len(data))).encode() + b"\n")
            number += 1
        texts.flush()
        parts.flush()
    except Refused as refused:
        return {"reason": refused.reason, "detail": refused.detail[:500]}
    except MemoryError:
        return {"reason": Reason.PARSE_FAILED, "detail": "needs more memory than a parser gets"}
    except Exception as error:  # noqa: BLE001 - whatever a parser raises is the file's fate, not ours
        return {"reason": Reason.PARSE_FAILED, "detail": f"{type(error).__name__}: {error}"[:500]}
    return {"parts": number}


def _record(part: Part, size: int) -> dict[str, Any]:
    record = {**vars(part), "size": size, "characters": len(part.text)}
    del record["text"]
    return record


def main() -> None:
    """Answer requests until standard input ends."""
    _confine(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    out = Path(sys.argv[2])
    with out.with_suffix(".text").open("wb") as texts, out.with_suffix(".parts").open("wb") as parts:
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line), texts, parts)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
