from __future__ import annotations

from pathlib import Path

from bessemer.local.plan import SERVICES, Layout, StackOptions, layout_facts, plan_services

PORTS = {name: 4000 + i for i, name in enumerate(("nats", *SERVICES, "data_http", "serve_http"))}


def layout(**options):
    return Layout(home=Path("/home/b"), ports=PORTS, options=StackOptions(**options))


def test_plan_binds_loopback_only():
    for plan in plan_services(layout()):
        listening = [value for key, value in plan.environment.items() if key.endswith("LISTEN")]
        assert listening
        assert all(value.startswith("127.0.0.1:") for value in listening)


def test_plan_gives_each_service_its_own_database_and_identity():
    plans = plan_services(layout())
    assert len({plan.environment["BESSEMER_DATABASE_URL"] for plan in plans}) == 4
    assert len({plan.environment["BESSEMER_TOKEN_FILE"] for plan in plans}) == 4


def test_plan_with_servers_changes_addresses_only():
    plain, cluster = (
        plan_services(layout()),
        plan_services(layout(s3_url="s3+http://s3:9000/b", database_url="postgresql+psycopg://db/{service}")),
    )
    for one, other in zip(plain, cluster, strict=True):
        changed = {key for key in one.environment if one.environment[key] != other.environment[key]}
        assert changed == {"BESSEMER_DATABASE_URL", "BESSEMER_OBJECTS_URL"}
        assert one.argv == other.argv


def test_facts_tell_clients_where_to_call():
    facts = layout_facts(layout())
    assert set(facts["services"]) == set(SERVICES)
    assert facts["http"]["serve"].startswith("http://127.0.0.1:")
