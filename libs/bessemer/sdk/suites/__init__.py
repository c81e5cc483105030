"""Suites made from files of other evaluation tools, on the client: nothing of such a file runs, here or on a server."""

from __future__ import annotations

from bessemer.sdk.suites.draft import SuiteDraft
from bessemer.sdk.suites.files import read_suite
from bessemer.sdk.suites.generated import generate_suite
from bessemer.sdk.suites.recorded import RecordedRun, read_recorded

__all__ = ["RecordedRun", "SuiteDraft", "generate_suite", "read_recorded", "read_suite"]
