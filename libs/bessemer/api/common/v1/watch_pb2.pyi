from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class WatchEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WATCH_EVENT_UNSPECIFIED: _ClassVar[WatchEvent]
    WATCH_EVENT_SNAPSHOT: _ClassVar[WatchEvent]
    WATCH_EVENT_CHANGE: _ClassVar[WatchEvent]
    WATCH_EVENT_BOOKMARK: _ClassVar[WatchEvent]
WATCH_EVENT_UNSPECIFIED: WatchEvent
WATCH_EVENT_SNAPSHOT: WatchEvent
WATCH_EVENT_CHANGE: WatchEvent
WATCH_EVENT_BOOKMARK: WatchEvent
