from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.common.v1 import watch_pb2 as _watch_pb2
from bessemer.api.serve.v1 import loop_pb2 as _loop_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateLoopRequest(_message.Message):
    __slots__ = ("parent", "loop_id", "loop", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LOOP_ID_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    loop_id: str
    loop: _loop_pb2.Loop
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., loop_id: _Optional[str] = ..., loop: _Optional[_Union[_loop_pb2.Loop, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetLoopRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLoopsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLoopsResponse(_message.Message):
    __slots__ = ("loops", "next_page_token")
    LOOPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    loops: _containers.RepeatedCompositeFieldContainer[_loop_pb2.Loop]
    next_page_token: str
    def __init__(self, loops: _Optional[_Iterable[_Union[_loop_pb2.Loop, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StopLoopRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResumeLoopRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchLoopRequest(_message.Message):
    __slots__ = ("name", "resume_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    resume_token: str
    def __init__(self, name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchLoopResponse(_message.Message):
    __slots__ = ("event", "loop", "resume_token")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    event: _watch_pb2.WatchEvent
    loop: _loop_pb2.Loop
    resume_token: str
    def __init__(self, event: _Optional[_Union[_watch_pb2.WatchEvent, str]] = ..., loop: _Optional[_Union[_loop_pb2.Loop, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...
