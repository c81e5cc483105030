from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_READ: _ClassVar[Action]
    ACTION_WRITE: _ClassVar[Action]
    ACTION_INFER: _ClassVar[Action]
    ACTION_OPERATE: _ClassVar[Action]
    ACTION_WORK: _ClassVar[Action]
    ACTION_PUBLIC: _ClassVar[Action]
ACTION_UNSPECIFIED: Action
ACTION_READ: Action
ACTION_WRITE: Action
ACTION_INFER: Action
ACTION_OPERATE: Action
ACTION_WORK: Action
ACTION_PUBLIC: Action
RULE_FIELD_NUMBER: _ClassVar[int]
rule: _descriptor.FieldDescriptor

class Rule(_message.Message):
    __slots__ = ("permission", "action")
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    permission: str
    action: Action
    def __init__(self, permission: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ...) -> None: ...
