from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
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
RULES_FIELD_NUMBER: _ClassVar[int]
rules: _descriptor.FieldDescriptor

class Rule(_message.Message):
    __slots__ = ("permission", "action")
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    permission: str
    action: Action
    def __init__(self, permission: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ...) -> None: ...

class FieldRules(_message.Message):
    __slots__ = ("required", "min", "max", "above", "name", "id", "pattern", "max_length", "max_items")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    required: bool
    min: float
    max: float
    above: float
    name: _containers.RepeatedScalarFieldContainer[str]
    id: bool
    pattern: str
    max_length: int
    max_items: int
    def __init__(self, required: _Optional[bool] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., above: _Optional[float] = ..., name: _Optional[_Iterable[str]] = ..., id: _Optional[bool] = ..., pattern: _Optional[str] = ..., max_length: _Optional[int] = ..., max_items: _Optional[int] = ...) -> None: ...
