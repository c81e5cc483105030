"""What the contracts say about each method, read from their descriptors once."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from google.protobuf import descriptor, descriptor_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import bessemer.api
from bessemer.api.common.v1 import options_pb2

__all__ = ["Method", "contract_sha256", "method_table"]

_NO_SIDE_EFFECTS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


@dataclass(frozen=True)
class Method:
    """One RPC: `path` is `/package.Service/Method`, `action` a class such as `read`, empty when no rule is given."""

    path: str
    service: str
    name: str
    permission: str
    action: str
    reads_only: bool
    has_request_id: bool
    streams: bool
    request: type[Message]
    response: type[Message]

    @property
    def retriable(self) -> bool:
        """Whether a second try cannot do harm."""
        return self.reads_only or self.has_request_id


@cache
def method_table() -> MappingProxyType[str, Method]:
    """Return all methods of all services of the suite by path."""
    methods = (
        _method(method) for file in _files() for service in file.services_by_name.values() for method in service.methods
    )
    return MappingProxyType({method.path: method for method in methods})


@cache
def contract_sha256() -> str:
    """Return the digest over all descriptors; two servers with the same one speak the same contract."""
    digest = hashlib.sha256()
    for file in _files():
        digest.update(file.serialized_pb)
    return digest.hexdigest()


@cache
def _files() -> tuple[descriptor.FileDescriptor, ...]:
    modules = pkgutil.walk_packages(bessemer.api.__path__, f"{bessemer.api.__name__}.")
    loaded = [importlib.import_module(module.name) for module in modules if module.name.endswith("_pb2")]
    files: list[descriptor.FileDescriptor] = [module.DESCRIPTOR for module in loaded]
    return tuple(sorted(files, key=lambda file: file.name))


def _method(method: descriptor.MethodDescriptor) -> Method:
    options = method.GetOptions()
    extensions: Any = options.Extensions  # the stubs know no extensions
    rule: options_pb2.Rule = extensions[options_pb2.rule]
    action = options_pb2.Action.Name(rule.action).removeprefix("ACTION_").lower()
    service = method.containing_service.full_name
    return Method(
        path=f"/{service}/{method.name}",
        service=service,
        name=method.name,
        permission=rule.permission,
        action="" if action == "unspecified" else action,
        reads_only=options.idempotency_level == _NO_SIDE_EFFECTS,
        has_request_id="request_id" in method.input_type.fields_by_name,
        streams=method.server_streaming,
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
    )
