from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from bessemer.api.common.v1 import system_service_pb2, system_service_pb2_grpc
from bessemer.api.data.v1 import dataset_service_pb2, dataset_service_pb2_grpc
from bessemer.kernel.ids import new_uid
from bessemer.svckit import auth, client
from bessemer.svckit.config import TlsConfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.tiny_service import JOB

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 20


@pytest.fixture
def home(tmp_path):
    auth.issue(tmp_path)
    return tmp_path


@contextlib.asynccontextmanager
async def running(home, **settings):
    folder = home / "credentials"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("BESSEMER_")}
    environ |= {"BESSEMER_HOME": str(home), "BESSEMER_JWKS_FILE": str(folder / "jwks.json"), "PYTHONPATH": str(ROOT)}
    with (home / "log").open("w") as stream:
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "tests.integration.tiny_service"], env=environ | settings, stderr=stream, cwd=ROOT
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


def lines(home):
    return [json.loads(line) for line in (home / "log").read_text().splitlines()]


async def serving_at(home, field="address"):
    async with asyncio.timeout(START_LIMIT_S):
        while True:
            for line in lines(home):
                if line.get("state") == "serving":
                    return line[field]
            await asyncio.sleep(0.02)


async def ended(process, limit_s=10):
    return await asyncio.wait_for(asyncio.to_thread(process.wait), limit_s)


async def test_process_told_to_stop_finishes_calls_and_exits_clean(home):
    async with running(home) as process:
        address = await serving_at(home)
        async with client.channel(address, token=home / "credentials" / "token") as channel:
            stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
            slow = asyncio.ensure_future(
                stub.PreviewDatasetVersion(
                    dataset_service_pb2.PreviewDatasetVersionRequest(name="projects/p/datasets/d/versions/sleep-1000")
                )
            )
            watch = dataset_service_pb2_grpc.CurationServiceStub(channel).WatchCurationJob(
                dataset_service_pb2.WatchCurationJobRequest(name=JOB)
            )
            await anext(aiter(watch))
            await stub.CreateDataset(
                dataset_service_pb2.CreateDatasetRequest(
                    parent="projects/p", dataset_id="d", dataset={}, request_id=new_uid()
                )
            )
            os.kill(process.pid, signal.SIGTERM)
            assert (await slow).rows
            with pytest.raises(grpc.RpcError):
                async for _ in watch:
                    pass
        assert await ended(process) == 0
    assert [line["state"] for line in lines(home) if line["event"] == "state"] == [
        "starting",
        "serving",
        "draining",
        "stopped",
    ]


async def test_process_told_twice_to_stop_ends_at_once(home):
    async with running(home) as process:
        address = await serving_at(home)
        async with client.channel(address, token=home / "credentials" / "token") as channel:
            stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
            name = "projects/p/datasets/d/versions/sleep-9000"
            slow = asyncio.ensure_future(
                stub.PreviewDatasetVersion(dataset_service_pb2.PreviewDatasetVersionRequest(name=name))
            )
            await asyncio.sleep(0.3)
            os.kill(process.pid, signal.SIGTERM)
            await asyncio.sleep(0.7)
            assert process.poll() is None
            os.kill(process.pid, signal.SIGTERM)
            assert await ended(process, 2) == 1
            slow.cancel()


async def test_process_whose_grace_is_over_ends(home):
    async with running(home, BESSEMER_GRACE_S="0.5") as process:
        address = await serving_at(home)
        async with client.channel(address, token=home / "credentials" / "token") as channel:
            stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
            name = "projects/p/datasets/d/versions/sleep-9000"
            slow = asyncio.ensure_future(
                stub.PreviewDatasetVersion(dataset_service_pb2.PreviewDatasetVersionRequest(name=name))
            )
            await asyncio.sleep(0.3)
            os.kill(process.pid, signal.SIGTERM)
            assert await ended(process, 5) == 0
            slow.cancel()


async def test_process_with_failing_background_exits_non_zero(home):
    async with running(home, TINY_BREAKS="1") as process:
        assert await ended(process, START_LIMIT_S) == 1
    [line] = [line for line in lines(home) if line["event"] == "background_failed"]
    assert "background is broken" in line["traceback"]


async def test_process_with_unknown_setting_refuses_to_start(home):
    async with running(home, BESSEMER_LISEN="127.0.0.1:1") as process:
        assert await ended(process, START_LIMIT_S) == os.EX_CONFIG
    assert "did you mean BESSEMER_LISTEN?" in lines(home)[-1]["reason"]


async def test_http_door_is_served_and_drained_with_the_process(home):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    async with running(home, BESSEMER_HTTP_LISTEN=listen) as process:
        await serving_at(home)
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://{listen}/")).text == "here"
        os.kill(process.pid, signal.SIGTERM)
        assert await ended(process) == 0


async def test_http_port_that_is_taken_ends_the_process(home):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        async with running(home, BESSEMER_HTTP_LISTEN=f"127.0.0.1:{taken.getsockname()[1]}") as process:
            assert await ended(process, START_LIMIT_S) == 1
    assert "is another process using the port?" in lines(home)[-1]["traceback"]


async def test_mutual_tls_lets_only_members_in(home):
    tls = _certificates(home)
    settings = {
        "BESSEMER_TLS_CERT": str(tls.cert_file),
        "BESSEMER_TLS_KEY": str(tls.key_file),
        "BESSEMER_TLS_CA": str(tls.ca_file),
        "BESSEMER_LISTEN": "0.0.0.0:0",
    }
    async with running(home, **settings):
        address = "127.0.0.1:" + (await serving_at(home)).rpartition(":")[2]
        ask = system_service_pb2.GetSystemInfoRequest()
        async with client.channel(address, token="", tls=tls) as channel:
            info = await system_service_pb2_grpc.SystemServiceStub(channel).GetSystemInfo(ask)
        assert info.service == "data"
        for stranger in (
            grpc.aio.insecure_channel(address),
            grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(tls.ca_file.read_bytes())),
        ):
            async with stranger as channel:
                with pytest.raises(grpc.RpcError) as caught:
                    await system_service_pb2_grpc.SystemServiceStub(channel).GetSystemInfo(ask, timeout=3)
            assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def _certificates(home):
    """Make an authority and one certificate for 127.0.0.1 signed by it."""
    now = dt.datetime.now(dt.UTC)

    def make(name, issuer, signer, public, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = x509.BasicConstraints(ca=True, path_length=0)
    tls = TlsConfig(home / "cert.pem", home / "key.pem", home / "ca.pem")
    tls.ca_file.write_bytes(make("ca", "ca", authority, authority.public_key(), ca))
    tls.cert_file.write_bytes(make("localhost", "ca", authority, own.public_key(), loopback))
    pem = serialization.PrivateFormat.PKCS8
    tls.key_file.write_bytes(own.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption()))
    return tls
