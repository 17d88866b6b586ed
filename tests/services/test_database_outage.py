"""PostgreSQL and MariaDB go away in mid-operation, stopped or killed, and come back."""

from collections.abc import Iterator

import pytest

from tests import database_servers, guests
from tests.bus_worker import eventually
from tests.database_servers import Mariadb, Postgresql, Server
from tests.outages import Ground, Hold, Side, ground
from tests.rig import SOON, running
from worker.errors import DatabaseUnavailable
from worker.model.ids import new_uuid
from worker.persistence import migrate
from worker.persistence.engine import make_engine

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module", params=[Postgresql, Mariadb], ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with database_servers.running(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def played(
    server: Server, libvirtd: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    folder, hold, url = tmp_path_factory.mktemp("outage"), Hold(), server.new_database()
    engine = make_engine(url)
    migrate.upgrade(engine)
    with (
        guests.guest_maker(libvirtd, guests.cached_guest_image(), folder) as make_guest,
        running(
            folder / "state",
            libvirtd,
            bus="kombu+memory://localhost/",
            host="host-1",
            watches=(hold,),
            database__connection=url,
        ) as rig,
    ):
        yield ground(rig, hold, make_guest, engine, folder)
    engine.dispose()


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    "step",
    [
        ("attach_volume", "disks.attach"),
        ("attach_volume", "attachments.complete"),
        ("detach_volume", "disks.unplug"),
        ("detach_volume", "attachments.delete"),
    ],
    ids=" ".join,
)
def test_an_operation_outlives_its_database(
    server: Server,
    played: Ground,
    caplog: pytest.LogCaptureFixture,
    step: tuple[str, str],
    side: Side,
) -> None:
    method, call = step
    case = played.prepared(method)
    # Killed before a call on one server and after it on the other.
    ends = server.kill if (side is Side.BEFORE) is isinstance(server, Postgresql) else server.stop
    with played.hold.at(call, side) as held:
        operation = played.begin(method, case)
        held.wait()
        ends()
    try:
        assert eventually(lambda: "journal away" in caplog.text, SOON)
        with pytest.raises(DatabaseUnavailable):
            played.rig.call("list_instances")
        queued = played.rig.cast("delete_volume", volume_id=new_uuid())
    finally:
        server.start()
    ended = played.rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    assert played.rig.end_of(queued)["state"] == "succeeded"
    played.check(case, ended, attached=method == "attach_volume")
    played.clear(case)


def test_one_that_is_away_for_longer_is_tried_again(
    server: Server, played: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    case = played.prepared("attach_volume")
    with played.hold.at("connector.connect", Side.AFTER) as held:
        operation = played.begin("attach_volume", case)
        held.wait()
        server.stop()
    try:
        assert eventually(lambda: caplog.text.count("journal away") > 2, SOON)
    finally:
        server.start()
    ended = played.rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    played.check(case, ended, attached=True)
    played.clear(case)
