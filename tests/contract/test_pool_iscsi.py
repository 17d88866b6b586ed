"""The pool's volumes over iSCSI: what it tells, and what a real tgtd has of it."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.tgtds import (
    HOST,
    INITIATOR,
    OTHER_INITIATOR,
    PREFIX,
    ExportingPool,
    LoggedIn,
    exporting,
    kill,
    logged_in,
    private_tgtd,
    size_seen,
    tgtadm,
    until,
    users,
)
from tests.unit.pool_scenes import GUEST, ONE, OTHER_GUEST, SIZE, TWO, make, raw_file
from worker.errors import ConnectFailed, RequestMalformed, VolumeFileUnusable
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId
from worker.model.leftover import LeftoverKind
from worker.volume.leftovers.names import marks_of
from worker.volume.pool.tgtd import PrivateTgtd

WRITES = 400
"""More than are carried out before the trouble is over."""

CONNECTOR = {"host": HOST, "initiator": INITIATOR}
OTHER_CONNECTOR = {"host": "host-2", "initiator": OTHER_INITIATOR}


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateTgtd]:
    with private_tgtd() as found:
        yield found


@pytest.fixture
def pool(daemon: PrivateTgtd, tmp_path: Path) -> Iterator[ExportingPool]:
    made = exporting(daemon, tmp_path / "pool")
    yield made
    for record in made.records.volumes():
        for held in made.records.attachments(record.volume.id):
            made.attachments.delete(held.id)
    assert daemon.tgt.runs() is False or (daemon.tgt.targets(), users_of(daemon)) == ((), set())


def folder_of(daemon: PrivateTgtd) -> Path:
    return daemon._state  # noqa: SLF001


def users_of(daemon: PrivateTgtd) -> set[str]:
    return users(folder_of(daemon))


def attach(
    pool: ExportingPool,
    guest: InstanceId = GUEST,
    connector: dict[str, str] = CONNECTOR,
) -> tuple[AttachmentId, Connection]:
    held = pool.attachments.create(ONE, guest)
    connection = pool.attachments.connect(held.id, connector)
    pool.attachments.complete(held.id)
    return held.id, connection


def with_login(connection: Connection, **login: str) -> Connection:
    return replace(connection, properties={**connection.properties, **login})


def test_it_answers_what_cinder_answers(pool: ExportingPool, daemon: PrivateTgtd) -> None:
    make(pool.pool)
    _, connection = attach(pool)

    said = dict(connection.properties)
    assert len(said.pop("auth_password")) == 32
    assert len(said.pop("auth_username")) == 20
    assert connection.protocol == "iscsi"
    assert said == {
        "target_discovered": False,
        "encrypted": False,
        "qos_specs": None,
        "target_iqn": f"{PREFIX}volume-{ONE}",
        "target_portal": daemon.ensure(),
        "volume_id": ONE,
        "target_lun": 1,
        "access_mode": "rw",
        "auth_method": "CHAP",
    }


@pytest.mark.parametrize("name", [None, "", 7, "guest", "iqn.a,b", "iqn." + "x" * 220])
def test_a_connector_without_an_initiator_is_refused(
    pool: ExportingPool, daemon: PrivateTgtd, name: object
) -> None:
    make(pool.pool)
    held = pool.attachments.create(ONE, GUEST)

    with pytest.raises(RequestMalformed, match="initiator"):
        pool.attachments.connect(held.id, {"host": HOST, "initiator": name})
    assert pool.attachments.get(held.id) == held


def test_only_who_it_was_exported_to_gets_in(pool: ExportingPool) -> None:
    make(pool.pool)
    _, connection = attach(pool)

    assert size_seen(connection) == SIZE
    with pytest.raises(ConnectFailed):
        size_seen(connection, OTHER_INITIATOR)
    with pytest.raises(ConnectFailed):
        size_seen(with_login(connection, auth_password="f" * 32))


def test_who_has_no_password_is_asked_for_one(pool: ExportingPool) -> None:
    make(pool.pool)
    _, connection = attach(pool)

    with pytest.raises(ConnectFailed):
        size_seen(with_login(connection, auth_username="", auth_password=""))


def test_what_is_kept_has_no_secret_and_is_given_out_with_it(pool: ExportingPool) -> None:
    make(pool.pool)
    held, connection = attach(pool)

    row = pool.records.attachment(held)
    assert row is not None
    assert row.connection is not None
    assert row.connection.without_secrets() == row.connection
    assert connection.properties["auth_password"] not in str(row.connection.properties)
    found = pool.attachments.find(ONE, GUEST)
    assert found is not None
    assert pool.attachments.get(held) == found == pool.attachments.of_instance(GUEST)[0]
    assert found.connection == connection == pool.attachments.connect(held, CONNECTOR)


def test_each_attachment_has_a_login_of_its_own(pool: ExportingPool, daemon: PrivateTgtd) -> None:
    make(pool.pool, multiattach=True)
    first, one = attach(pool)
    second, other = attach(pool, OTHER_GUEST, OTHER_CONNECTOR)

    (target,) = daemon.tgt.targets()
    logins = {each.properties["auth_username"] for each in (one, other)}
    assert one.properties["auth_password"] != other.properties["auth_password"]
    assert set(target.users) == users_of(daemon) == logins
    assert target.initiators == {INITIATOR, OTHER_INITIATOR}
    assert (one.properties["multiattach"], size_seen(one)) == (True, SIZE)

    pool.attachments.delete(first)
    (target,) = daemon.tgt.targets()
    assert set(target.users) == users_of(daemon) == {other.properties["auth_username"]}
    with pytest.raises(ConnectFailed):
        size_seen(one)
    assert size_seen(other, OTHER_INITIATOR) == SIZE
    pool.attachments.delete(second)
    assert (daemon.tgt.targets(), users_of(daemon)) == ((), set())


def test_no_command_line_and_no_file_has_a_password(
    pool: ExportingPool, daemon: PrivateTgtd, tmp_path: Path
) -> None:
    started: list[str] = []
    listening = [True]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
            started.append(repr(arguments))

    sys.addaudithook(hear)
    make(pool.pool)
    held, connection = attach(pool)
    kill(folder_of(daemon))
    pool.keeper.look()
    listening.clear()

    assert any("tgtd" in each for each in started), "what is started is heard of"
    secrets = [connection.properties[f"auth_{name}"] for name in ("username", "password")]
    files = [
        path for path in (*folder_of(daemon).iterdir(), *tmp_path.rglob("*")) if path.is_file()
    ]
    assert (folder_of(daemon) / "log") in files
    for secret in secrets:
        assert not [each for each in started if secret in each]
        assert not [path for path in files if secret.encode() in path.read_bytes()]
    pool.attachments.delete(held)


def test_what_a_killed_tgtd_had_is_exported_again(
    pool: ExportingPool, daemon: PrivateTgtd, tmp_path: Path
) -> None:
    make(pool.pool)
    _, connection = attach(pool)
    portal, shown = daemon.ensure(), tgtadm(folder_of(daemon), "target")
    kill(folder_of(daemon))

    # A worker that starts knows of it by the rows alone.
    exporting(daemon, tmp_path / "pool", pool.records).keeper.look()

    assert (daemon.ensure(), tgtadm(folder_of(daemon), "target")) == (portal, shown)
    assert size_seen(connection) == SIZE


def test_a_kill_in_the_workers_life_is_noticed(pool: ExportingPool, daemon: PrivateTgtd) -> None:
    make(pool.pool)
    pool.keeper.look()
    _, connection = attach(pool)
    kill(folder_of(daemon))

    pool.keeper.look()

    assert size_seen(connection) == SIZE


def test_a_connect_that_finds_the_target_missing_makes_it(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool)
    held, connection = attach(pool)
    kill(folder_of(daemon))

    assert pool.attachments.connect(held, CONNECTOR) == connection
    assert size_seen(connection) == SIZE


def test_a_volume_leaves_when_tgtd_is_dead_and_is_not_brought_back(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool)
    held, _ = attach(pool)
    kill(folder_of(daemon))

    pool.attachments.delete(held)
    pool.keeper.look()

    assert not daemon.tgt.runs()


def test_a_volume_whose_file_is_gone_keeps_no_other_from_its_guest(
    pool: ExportingPool, daemon: PrivateTgtd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = raw_file(tmp_path / "a.raw")
    make(pool.pool, TWO, path=file)
    lost = pool.attachments.create(TWO, GUEST)
    pool.attachments.connect(lost.id, CONNECTOR)
    make(pool.pool)
    _, connection = attach(pool)
    file.unlink()
    kill(folder_of(daemon))

    for _ in range(3):
        pool.keeper.look()

    assert size_seen(connection) == SIZE
    said = [each for each in caplog.messages if "not exported" in each]
    assert len(said) == 1
    assert TWO in said[0]
    raw_file(file)
    pool.keeper.look()
    assert len(daemon.tgt.targets()) == 2


def sessions_of(daemon: PrivateTgtd) -> set[str]:
    return {each.initiator for target in daemon.tgt.targets() for each in target.sessions}


def test_who_leaves_is_sent_away_though_he_has_not_logged_out(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool, multiattach=True)
    first, one = attach(pool)
    second, other = attach(pool, OTHER_GUEST, OTHER_CONNECTOR)

    with logged_in(one), logged_in(other, OTHER_INITIATOR):
        until(lambda: sessions_of(daemon) == {INITIATOR, OTHER_INITIATOR})
        pool.attachments.delete(first)
        assert sessions_of(daemon) == {OTHER_INITIATOR}
        with pytest.raises(ConnectFailed):
            size_seen(one)
        pool.attachments.delete(second)
        assert (daemon.tgt.targets(), users_of(daemon)) == ((), set())


def test_the_target_shows_what_the_volume_has_grown_to(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool, multiattach=True)
    _, connection = attach(pool)
    _, other = attach(pool, OTHER_GUEST, OTHER_CONNECTOR)
    before = daemon.tgt.targets()

    for _ in range(2):
        pool.pool.grow(ONE, 3 * SIZE)

    assert (size_seen(connection), size_seen(other, OTHER_INITIATOR)) == (3 * SIZE, 3 * SIZE)
    assert daemon.tgt.targets() == before


@pytest.mark.parametrize("trouble", ["it grows", "tgtd is killed"])
def test_who_writes_meanwhile_waits_and_no_write_fails(
    pool: ExportingPool, daemon: PrivateTgtd, trouble: str
) -> None:
    make(pool.pool)
    _, connection = attach(pool)
    with logged_in(connection) as writer:
        until(lambda: sessions_of(daemon) == {INITIATOR})
        busy = Thread(target=write_much, args=(writer,))
        busy.start()
        if trouble == "it grows":
            pool.pool.grow(ONE, 2 * SIZE)
        else:
            kill(folder_of(daemon))
            pool.keeper.look()
        busy.join()
        said = writer.ended()

    assert said.count("wrote 4096/4096 bytes") == WRITES
    assert "failed" not in said


def write_much(writer: LoggedIn) -> None:
    for number in range(WRITES):
        writer.told(f"write -P {number % 256} {number % 256 * 4096} 4096")
        time.sleep(0.002)


def test_a_volume_of_nobody_grows_without_a_target(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool)
    pool.pool.grow(ONE, 3 * SIZE)

    _, connection = attach(pool)
    assert size_seen(connection) == 3 * SIZE


def test_a_connection_says_how_its_volume_is_treated(
    pool: ExportingPool, daemon: PrivateTgtd, tmp_path: Path
) -> None:
    options = {"discard": True, "qos_specs": {"total_iops_sec": "9"}, "logical_block_size": 512}
    make(pool.pool, path=raw_file(tmp_path / "a.raw"), encrypted=True, options=options)
    _, connection = attach(pool)

    assert connection.properties.items() >= {**options, "encrypted": True}.items()
    assert "Thin-provisioning: Yes" in tgtadm(folder_of(daemon), "target")


def test_the_lun_says_the_same_of_itself_under_another_number(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool)
    held, _ = attach(pool)
    first = tgtadm(folder_of(daemon), "target")
    pool.attachments.delete(held)
    daemon.tgt.make_target(1, "iqn.2026-11.org.example.test:of-others")
    attach(pool)
    second = tgtadm(folder_of(daemon), "target")

    daemon.tgt.drop_target(1)
    assert f"Target 2: {PREFIX}volume-{ONE}" in second
    for said in (f"SCSI ID: {ONE}", f"SCSI SN: {ONE}"):
        assert said in first
        assert said in second


def test_a_file_that_tgtd_would_misread_is_refused(pool: ExportingPool, tmp_path: Path) -> None:
    make(pool.pool, path=raw_file(tmp_path / "a,bstype=null"))
    held = pool.attachments.create(ONE, GUEST)

    with pytest.raises(VolumeFileUnusable, match="comma"):
        pool.attachments.connect(held.id, CONNECTOR)
    assert pool.attachments.get(held.id) == held


def test_an_export_goes_by_the_words_of_its_connection(
    pool: ExportingPool, daemon: PrivateTgtd
) -> None:
    make(pool.pool)
    held, connection = attach(pool)

    (thing,) = pool.keeper.leftovers()
    assert (thing.kind, thing.name) == (LeftoverKind.EXPORT, connection.properties["target_iqn"])
    assert thing.marks == marks_of(connection, ())
    assert held in (thing.used or "")
    with pytest.raises(ConnectFailed, match="in use"):
        pool.keeper.remove(thing)

    pool.records.drop_attachment(held)
    (left,) = pool.keeper.leftovers()
    assert left.used is None
    pool.keeper.remove(left)
    pool.keeper.remove(left)
    assert (daemon.tgt.targets(), users_of(daemon)) == ((), set())
    assert pool.keeper.leftovers() == ()
