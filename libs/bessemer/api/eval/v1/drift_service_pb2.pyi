from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.eval.v1 import drift_pb2 as _drift_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateDriftMonitorRequest(_message.Message):
    __slots__ = ("parent", "drift_monitor_id", "drift_monitor", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DRIFT_MONITOR_ID_FIELD_NUMBER: _ClassVar[int]
    DRIFT_MONITOR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    drift_monitor_id: str
    drift_monitor: _drift_pb2.DriftMonitor
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., drift_monitor_id: _Optional[str] = ..., drift_monitor: _Optional[_Union[_drift_pb2.DriftMonitor, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetDriftMonitorRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDriftMonitorsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDriftMonitorsResponse(_message.Message):
    __slots__ = ("drift_monitors", "next_page_token")
    DRIFT_MONITORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    drift_monitors: _containers.RepeatedCompositeFieldContainer[_drift_pb2.DriftMonitor]
    next_page_token: str
    def __init__(self, drift_monitors: _Optional[_Iterable[_Union[_drift_pb2.DriftMonitor, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ObserveRequestsRequest(_message.Message):
    __slots__ = ("name", "rows", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: _containers.RepeatedCompositeFieldContainer[_drift_pb2.DriftRow]
    request_id: str
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[_drift_pb2.DriftRow, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RearmDriftMonitorRequest(_message.Message):
    __slots__ = ("name", "new_reference", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    new_reference: bool
    request_id: str
    def __init__(self, name: _Optional[str] = ..., new_reference: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListDriftAlarmsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDriftAlarmsResponse(_message.Message):
    __slots__ = ("drift_alarms", "next_page_token")
    DRIFT_ALARMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    drift_alarms: _containers.RepeatedCompositeFieldContainer[_drift_pb2.DriftAlarm]
    next_page_token: str
    def __init__(self, drift_alarms: _Optional[_Iterable[_Union[_drift_pb2.DriftAlarm, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
