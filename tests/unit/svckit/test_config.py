from __future__ import annotations

import json

import pytest
from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.config import InferenceServer, load


def test_load_empty_environment_gives_embedded_defaults(tmp_path):
    config = load("train", {"BESSEMER_HOME": str(tmp_path), "PATH": "/bin"})
    assert config.database_url == f"sqlite:///{tmp_path}/train/service.db"
    assert config.objects.url == f"file://{tmp_path}/objects"
    assert (config.listen, config.http_listen, config.nats_url, config.tls) == ("127.0.0.1:0", None, "", None)


def test_load_reads_peers_files_and_numbers(tmp_path):
    (tmp_path / "key").write_bytes(b"abc\n")
    config = load(
        "train",
        {
            "BESSEMER_PEER_DATA": "127.0.0.1:5",
            "BESSEMER_DOOR_KEY_FILE": str(tmp_path / "key"),
            "BESSEMER_THREADS": "3",
            "BESSEMER_S3_SECRET_KEY": "hidden",
        },
    )
    assert (config.peers, config.threads, config.objects.door_key) == ({"data": "127.0.0.1:5"}, 3, b"abc")
    assert "hidden" not in repr(config)


def test_load_reads_inference_servers_from_the_home_or_from_the_file_named(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    servers = {"gpu": {"url": "https://gpu:8000/v1", "api_key_file": str(tmp_path / "key")}}
    (tmp_path / "inference-servers.json").write_text(json.dumps(servers))
    config = load("serve", {"BESSEMER_HOME": str(tmp_path)})
    assert config.inference_servers == {"gpu": InferenceServer("https://gpu:8000/v1", "secret")}
    assert "secret" not in repr(config)
    for bad in ({"gpu": {}}, {"gpu": {"url": "file:///etc"}}, {"gpu": {"url": "http://x", "user": "me"}}, ["gpu"]):
        (tmp_path / "other.json").write_text(json.dumps(bad))
        with pytest.raises(InvalidRequest, match="INFERENCE_SERVERS_FILE"):
            load("serve", {"BESSEMER_INFERENCE_SERVERS_FILE": str(tmp_path / "other.json")})
        assert not load("data", {"BESSEMER_INFERENCE_SERVERS_FILE": str(tmp_path / "other.json")}).inference_servers


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"BESSEMER_LISTN": "x"}, "did you mean BESSEMER_LISTEN"),
        ({"BESSEMER_LISTEN": "7070"}, "must be host:port"),
        ({"BESSEMER_LISTEN": "127.0.0.1:70700"}, "must be host:port"),
        ({"BESSEMER_THREADS": "many"}, "number from 1"),
        ({"BESSEMER_THREADS": "0"}, "number from 1"),
        ({"BESSEMER_GRACE_S": "nan"}, "number from 0"),
        ({"BESSEMER_JWKS_FILE": "/no/such"}, "there is none"),
        ({"BESSEMER_LISTEN": "0.0.0.0:1"}, "can be reached from outside"),
        ({"BESSEMER_LISTEN": "[::]:1"}, "can be reached from outside"),
        ({"BESSEMER_LISTEN": "my-host:1"}, "can be reached from outside"),
        ({"BESSEMER_HTTP_LISTEN": "10.0.0.1:1"}, "BESSEMER_HTTP_LISTEN"),
    ],
)
def test_load_bad_setting_is_refused_by_name(environ, says):
    with pytest.raises(InvalidRequest, match=says):
        load("data", environ)


def test_load_open_listener_needs_tokens_and_certificate(tmp_path):
    files = {}
    for name in ("JWKS_FILE", "TLS_CERT", "TLS_KEY"):
        (tmp_path / name).write_text("")
        files[f"BESSEMER_{name}"] = str(tmp_path / name)
    environ = {"BESSEMER_LISTEN": "0.0.0.0:1", **files}
    assert load("data", environ).listen == "0.0.0.0:1"
    for name in files:
        with pytest.raises(InvalidRequest):
            load("data", {key: value for key, value in environ.items() if key != name})


def test_load_loopback_spellings_are_loopback():
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1"):
        assert load("data", {"BESSEMER_LISTEN": address}).listen == address
