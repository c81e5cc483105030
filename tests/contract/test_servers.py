"""Starting other people's servers, and what one is told when they do not come up."""

from __future__ import annotations

import socket

import pytest
from bessemer.kernel.errors import FailedPrecondition, Unavailable
from bessemer.local import servers


def test_nats_on_a_taken_port_says_so_with_the_end_of_its_log(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="address already in use"):
        servers.start_nats(tmp_path / "nats", taken.getsockname()[1], tmp_path / "nats.log")


def test_missing_program_is_named():
    with pytest.raises(FailedPrecondition, match="no-such-server"):
        servers._program("no-such-server")


def test_free_ports_are_distinct():
    ports = servers.free_ports(20)
    assert len(set(ports)) == 20


def test_nats_listens_on_loopback_only(nats_server):
    configuration = (nats_server.folder / "nats.conf").read_text()
    assert f'listen: "127.0.0.1:{nats_server.port}"' in configuration
    assert "sync_interval: always" in configuration
