"""The operator's judges, from `judges.json` in the service's home; read anew each time, so an edit needs no restart.

{"judges": [{"name", "url", "model", "key_file"?, "inside"?}]}
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from bessemer.api.eval.v1.evaluation_pb2 import Judge
from bessemer.kernel.errors import FailedPrecondition
from google.protobuf.json_format import ParseDict, ParseError

__all__ = ["JudgesFile"]


class JudgesFile:
    """Reads the file; no file means no judges."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def judges(self) -> dict[str, Judge]:
        """Return the judges by name.

        Raises: FailedPrecondition naming what is wrong with the file.
        """
        try:
            given = json.loads(self._path.read_text())["judges"]
            found = [ParseDict(each, Judge()) for each in given]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, ParseError) as error:
            raise self._wrong(f"{type(error).__name__}: {error}") from error
        for judge in found:
            address = urlsplit(judge.url)
            if not judge.name or not judge.model or address.scheme not in {"http", "https"} or not address.hostname:
                raise self._wrong(f"judge {judge.name!r} needs a name, a model and an http or https url")
            if judge.key_file and address.scheme == "http" and not judge.inside:
                raise self._wrong(f"judge {judge.name} would get its key in the clear; use https")
        return {judge.name: judge for judge in found}

    def _wrong(self, what: str) -> FailedPrecondition:
        return FailedPrecondition(f"{self._path.name} of the service's home is wrong: {what}", reason="FIELD_INVALID")
