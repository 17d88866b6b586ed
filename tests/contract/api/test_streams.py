"""Updates as server-sent events, through the web server, over a real bus and database."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.api_rig import ApiRig, api_rig
from tests.contract.api.served import Event, Listener, Served, Unsteady, member_of, served
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.persistence.schema import UPDATES
from worker.wiring.api import Api

ENDED = "operation.ended"
OTHER = "11111111-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def site(api: ApiRig) -> Iterator[Served]:
    # A place is free again at the heartbeat after its client has gone.
    with served(api, streams=32, heartbeat=0.2) as found:
        yield found


@pytest.fixture(scope="module")
def member(api: ApiRig) -> Iterator[Served]:
    with served(api, streams=32, heartbeat=0.2, who=member_of(OTHER)) as found:
        yield found


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reserve(rig: ApiRig, server: InstanceId) -> tuple[str, VolumeId]:
    """Have one update told: of a reservation."""
    volume = rig.volume()
    row = rig.client.reserve_block_device_name(rig.host, instance_uuid=server, volume_id=volume)
    return row["uuid"], volume


def numbers(events: list[Event]) -> list[int]:
    return [event.number for event in events]


def take(listener: Listener, count: int) -> list[Event]:
    return list(islice(listener.updates(), count))


def attach(rig: ApiRig, server: InstanceId) -> str:
    wanted = {"volumeAttachment": {"volumeId": rig.volume()}}
    answer = rig.ask("POST", f"/v2.1/servers/{server}/os-volume_attachments", wanted)
    assert answer.status == 202, answer.body
    return str(answer.headers["X-Blockworker-Operation"])


class TestAnOperation:
    def test_its_updates_then_its_end_then_nothing(self, site: Served) -> None:
        server = site.rig.server()
        operation = attach(site.rig, server)
        with site.listen(f"/operations/{operation}/updates") as listener:
            kind = listener.response.headers["Content-Type"]
            told = list(listener.updates())
        assert kind.startswith("text/event-stream")
        names = [event.name for event in told]
        assert names == [
            "instance.volume_attach.start",
            "instance.volume_attach.end",
            ENDED,
        ]
        assert {event.data["operation_id"] for event in told} == {operation}
        assert told[-1].data["state"] == "succeeded"
        assert told[0].id == f"{site.rig.host}/{server}/{told[0].number}"

    def test_one_that_ended_long_ago_and_one_that_was_heard_in_part(self, site: Served) -> None:
        operation = attach(site.rig, site.rig.server())
        site.rig.client.wait_for(site.rig.host, operation, every=0.01)
        path = f"/operations/{operation}/updates"
        with site.listen(path) as listener:
            told = list(listener.updates())
        with site.listen(path, Last_Event_ID=told[0].id) as listener:
            assert list(listener.updates()) == told[1:]

    def test_what_was_told_long_before_it_is_not_gone_through(self, site: Served) -> None:
        server, database = site.rig.server(), site.rig.database
        reserve(site.rig, server)
        operation = attach(site.rig, server)
        site.rig.client.wait_for(site.rig.host, operation, every=0.01)
        # An old update that says it were one of the operation's: who reads it would tell it.
        first = update(UPDATES).where(UPDATES.c.instance_uuid == server, UPDATES.c.sequence == 1)
        old = {"operation_id": operation, "sequence": 1}
        at = datetime.now(UTC) - timedelta(days=2)
        database.write(lambda each: each.execute(first.values(created_at=at, payload=old)))
        with site.listen(f"/operations/{operation}/updates") as listener:
            names = [event.name for event in listener.updates()]
        assert names == ["instance.volume_attach.start", "instance.volume_attach.end", ENDED]

    def test_one_that_tells_nothing_ends_all_the_same(self, site: Served) -> None:
        client, server = site.rig.client, site.rig.server()
        operation = client.repair_drift(site.rig.host, instance_uuid=server)
        client.wait_for(site.rig.host, operation, every=0.01)
        with site.listen(f"/operations/{operation}/updates") as listener:
            (only,) = listener.updates()
        assert (only.name, only.data["method"]) == (ENDED, "repair_drift")


class TestLive:
    def test_what_is_told_comes_as_it_is_on_the_bus(self, site: Served) -> None:
        server = site.rig.server()
        with site.listen(f"/updates?instance_uuid={server}") as listener:
            next(listener)
            with site.rig.client.updates() as hearing:
                row, _ = reserve(site.rig, server)
                (told,) = take(listener, 1)
                heard = hearing.wait(60)
                while heard is not None and heard["payload"]["instance_uuid"] != server:
                    heard = hearing.wait(60)
        assert heard is not None
        assert (told.name, told.data) == (heard["event_type"], heard["payload"])
        assert told.data["block_device"]["uuid"] == row

    def test_no_hole_and_nothing_twice_after_a_break(self, site: Served) -> None:
        server = site.rig.server()
        path = f"/updates?instance_uuid={server}"
        with site.listen(path) as listener:
            next(listener)
            for _ in range(3):
                reserve(site.rig, server)
            first = take(listener, 2)
        for _ in range(3):
            reserve(site.rig, server)
        with site.listen(path, Last_Event_ID=first[-1].id) as listener:
            reserve(site.rig, server)
            rest = take(listener, 5)
        got = numbers(first + rest)
        assert got == list(range(got[0], got[0] + 7))

    def test_one_that_begins_while_much_is_told_has_each_once_and_in_order(
        self, site: Served
    ) -> None:
        servers = [site.rig.server() for _ in range(3)]
        with site.listen("/updates") as listener:
            next(listener)
            reserve(site.rig, servers[0])
            (begin,) = take(listener, 1)

        def tell(server: InstanceId) -> None:
            for _ in range(5):
                row, _ = reserve(site.rig, server)
                site.rig.client.release_block_device(site.rig.host, bdm_uuid=row)

        threads = [threading.Thread(target=tell, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        with site.listen("/updates", Last_Event_ID=begin.id) as listener:
            for thread in threads:
                thread.join()
            told: dict[str, list[int]] = {server: [] for server in servers}
            for event in listener.updates():
                told.get(event.data["instance_uuid"], []).append(event.number)
                if all(each and each[-1] >= 10 for each in told.values()):
                    break
        for server, numbers_ in told.items():
            first = begin.number + 1 if server == servers[0] else numbers_[0]
            assert numbers_ == list(range(first, numbers_[-1] + 1)), server
            assert len(numbers_) >= 9

    def test_what_is_no_id_of_ours_is_refused(self, site: Served) -> None:
        with site.listen("/updates", Last_Event_ID="17") as listener:
            assert listener.response.status == 400
            assert b"Last-Event-ID" in listener.response.read()

    def test_of_an_update_that_is_not_kept_any_more_all_that_is_kept_comes(
        self, site: Served
    ) -> None:
        server = site.rig.server()
        reserve(site.rig, server)
        gone = f"{site.rig.host}/{new_uuid()}/4"
        with site.listen(f"/updates?instance_uuid={server}", Last_Event_ID=gone) as listener:
            names = [event.name for event in take(listener, 1)]
        assert names


class TestWhoSeesWhat:
    def test_another_projects_updates_never_come(self, api: ApiRig, member: Served) -> None:
        mine, theirs = api.server(OTHER), api.server()
        with member.listen("/updates") as listener:
            next(listener)
            reserve(api, theirs)
            reserve(api, mine)
            reserve(api, theirs)
            reserve(api, mine)
            told = take(listener, 2)
        assert {event.data["instance_uuid"] for event in told} == {mine}

    def test_nor_those_that_were_missed(self, api: ApiRig, member: Served) -> None:
        mine, theirs = api.server(OTHER), api.server()
        reserve(api, theirs)
        with member.listen("/updates") as listener:
            next(listener)
            reserve(api, mine)
            (first,) = take(listener, 1)
        reserve(api, theirs)
        reserve(api, mine)
        with member.listen("/updates", Last_Event_ID=first.id) as listener:
            told = take(listener, 1)
            while told[-1].data["instance_uuid"] != mine or told[-1].number <= first.number:
                told += take(listener, 1)
        assert theirs not in {event.data["instance_uuid"] for event in told}

    def test_another_projects_instance_and_operation_are_not_there(
        self, api: ApiRig, member: Served
    ) -> None:
        server = api.server()
        operation = attach(api, server)
        for path in (f"/updates?instance_uuid={server}", f"/operations/{operation}/updates"):
            status, body = member.get(path)
            assert status == 404, body

    def test_after_a_destroy_they_are_still_the_projects(self, api: ApiRig, member: Served) -> None:
        mine = api.server(OTHER)
        with member.listen(f"/updates?instance_uuid={mine}") as listener:
            next(listener)
            operation = api.client.destroy_instance(api.host, instance_uuid=mine)
            for event in listener.updates():
                if event.name == "instance.destroy.end":
                    break
        with member.listen(f"/operations/{operation}/updates") as listener:
            assert [event.name for event in listener.updates()][-1] == "operation.ended"


class TestPlaces:
    def test_with_all_streams_open_requests_are_answered_and_one_more_is_refused(
        self, api: ApiRig
    ) -> None:
        with served(api, streams=3, threads=1) as site:
            listeners = [site.listen("/updates") for _ in range(3)]
            assert [each.response.status for each in listeners] == [200] * 3
            for _ in range(5):
                assert site.get("/v2.1/servers/" + api.server())[0] in (200, 404)
            status, body = site.get("/updates")
            assert status == 503
            assert "all 3 streams" in body
            listeners[0].close()
            reserve(api, api.server())
            until(lambda: site.streams.open_streams == 2)
            with site.listen("/updates") as again:
                assert again.response.status == 200
            for each in listeners[1:]:
                each.close()

    def test_so_it_is_with_the_service_as_it_is_configured(self, tmp_path: Path) -> None:
        few = {"api__listen": "127.0.0.1:0", "api__threads": 2, "api__streams": 3}
        with api_rig(tmp_path, **few) as rig:  # type: ignore[arg-type]
            service = Api(rig.conf, beside_worker=True)
            service.start()
            try:
                listeners = [Listener(service.port, "/updates", {}) for _ in range(3)]
                asked = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
                asked.request("GET", "/operations")
                assert asked.getresponse().status == 200
                reserve(rig, rig.server())
                assert [take(each, 1)[0].number for each in listeners] == [1, 1, 1]
            finally:
                service.stop()

    def test_who_goes_away_gives_the_place_back_at_the_next_heartbeat(self, api: ApiRig) -> None:
        with served(api, streams=1, heartbeat=0.2) as site:
            listener = site.listen("/updates")
            comments = listener.comments()
            assert [next(comments) for _ in range(2)] == ["still here"] * 2
            listener.close()
            until(lambda: site.streams.open_streams == 0)

    def test_a_stop_ends_streams_at_once(self, api: ApiRig) -> None:
        with served(api, streams=1) as site:
            listener = site.listen("/updates")
            next(listener)
            begun = time.monotonic()
        assert list(listener.comments())[-1].startswith("the API is being stopped")
        # Not the 15 s of a heartbeat, nor the 5 s after which the server gives up.
        assert time.monotonic() - begun < 5


class TestTheBrokerIsAway:
    def test_streams_say_so_go_on_and_miss_nothing(self, api: ApiRig) -> None:
        unsteady, server = Unsteady(api), api.server()
        with served(api, hear=unsteady) as site, site.listen("/updates") as listener:
            next(listener)
            reserve(api, server)
            (first,) = take(listener, 1)
            unsteady.cut = True
            for _ in range(2):
                reserve(api, server)
            said = list(islice(listener, 3))
            unsteady.mend()
            reserve(api, server)
            events = [first, *said, *islice(listener, 2)]
        got = [each.number for each in events if each.name]
        assert got == list(range(first.number, first.number + 4))
        comments = [each.comment for each in events if each.comment]
        assert comments == [
            "the message broker is away; updates come later, none is missed",
            "the message broker is back",
        ]

    def test_one_that_begins_meanwhile_is_told_from_its_beginning(self, api: ApiRig) -> None:
        unsteady, server = Unsteady(api), api.server()
        unsteady.cut = True
        with served(api, hear=unsteady) as site, site.listen("/updates") as listener:
            assert next(listener).comment == ""
            reserve(api, server)
            unsteady.mend()
            told = take(listener, 1)
        assert told[0].data["instance_uuid"] == server

    def test_what_the_bus_lost_is_found_by_its_number(self, api: ApiRig) -> None:
        unsteady, server = Unsteady(api), api.server()
        with served(api, hear=unsteady) as site, site.listen("/updates") as listener:
            next(listener)
            reserve(api, server)
            (first,) = take(listener, 1)
            unsteady.deaf = True
            reserve(api, server)
            until(lambda: unsteady.dropped > 0)
            unsteady.deaf = False
            reserve(api, server)
            rest = take(listener, 2)
        assert numbers([first, *rest]) == list(range(first.number, first.number + 3))
