"""Events that were ever released can be read for ever: their bytes lie in golden/.

For a new kind of resource run `python tests/contract/golden_events.py`; it never rewrites what is there.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from bessemer.svckit.change import event_message, event_payload, kinds

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.binpb"))


def test_every_kind_has_golden_bytes():
    missing = {kind.event.DESCRIPTOR.name for kind in kinds().values()} - set(NAMES)
    assert not missing, "run python tests/contract/golden_events.py"


@pytest.mark.parametrize("name", NAMES)
def test_golden_event_decodes_and_encodes_to_the_same_bytes(name):
    (kind,) = (kind for kind in kinds().values() if kind.event.DESCRIPTOR.name == name)
    golden = (GOLDEN / f"{name}.binpb").read_bytes()
    resource, previous_state = event_message(kind, golden)
    assert resource.name == "name"
    assert previous_state == "JOB_STATE_RUNNING"
    assert not has_unknown_fields(kind.event.FromString(golden))
    assert event_payload(kind, resource, previous_state) == golden


def has_unknown_fields(message):
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return True
    values = (value for field, value in message.ListFields() if field.message_type)
    members = (member for value in values for member in ([value] if hasattr(value, "DESCRIPTOR") else value))
    return any(has_unknown_fields(member) for member in members if hasattr(member, "DESCRIPTOR"))
