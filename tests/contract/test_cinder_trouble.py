"""A Cinder that answers wrongly, late or not at all, and what is made of it."""

import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.contract.cinder_labs import (
    CONNECTOR,
    by_keystone,
    make_certificate,
    options,
    service_of,
)
from tests.contract.cinder_server import Cinder, Trouble, served
from tests.contract.cinder_state import CHAP
from worker.errors import (
    AttachmentNotFound,
    RequestMalformed,
    VolumeInUse,
    VolumeNotFound,
    VolumeServiceForbids,
    VolumeServiceRefused,
    VolumeServiceUnavailable,
    VolumeServiceUnsuitable,
    WorkerError,
)
from worker.model.ids import InstanceId, VolumeId
from worker.ports import Attachments
from worker.wiring.volumes import VolumeService
from worker.wiring.waiting import Waiting

ONE = VolumeId("11111111-1111-4111-8111-111111111111")
GUEST = InstanceId("33333333-3333-4333-8333-333333333333")
OTHER_GUEST = InstanceId("44444444-4444-4444-8444-444444444444")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def cinder() -> Iterator[Cinder]:
    with served() as server:
        server.state.add(ONE)
        yield server


@pytest.fixture
def service(cinder: Cinder) -> VolumeService:
    return service_of(by_keystone(cinder, timeout=1.0))


@pytest.fixture
def attachments(service: VolumeService) -> Attachments:
    return service.attachments


def go_through(service: VolumeService, waiting: Waiting) -> None:
    """Attach and detach, each call made again while Cinder is away."""
    waited, held = waiting.call, service.attachments
    made = waited("attachments.create", lambda: held.create(ONE, GUEST))
    connection = waited("attachments.connect", lambda: held.connect(made.id, CONNECTOR))
    assert connection.properties["auth_password"] == CHAP
    waited("attachments.complete", lambda: held.complete(made.id))
    assert held.get(made.id).connection == connection
    waited("attachments.delete", lambda: held.delete(made.id))


EACH = {
    "list": r"GET .*/attachments\?",
    "reserve": "POST .*/attachments$",
    "look": "GET .*/attachments/[^/]*$",
    "update": "PUT .*/attachments/",
    "complete": "POST .*/attachments/.*/action",
    "volume": "GET .*/volumes/",
    "delete": "DELETE .*/attachments/",
    "versions": "GET .*/v3/$",
    "tokens": "POST .*/auth/tokens",
}


MAY_PASS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502": {"status": 502, "body": "<html>Bad Gateway</html>"},
    "503-done": {"status": 503, "done": True},
    "504-done": {"status": 504, "done": True},
    "429": {"status": 429},
    "cut": {"cut": True},
    "cut-done": {"cut": True, "done": True},
    "no-json": {"status": 200, "body": "[1, 2"},
    "no-sense": {"status": 200, "body": '{"well": "hello"}'},
}
NOT_READ = ("complete", "delete", "tokens")
"""Whose answers are nothing but a yes, or read by others."""


@pytest.mark.parametrize(
    ("on", "how"),
    [
        pytest.param(EACH[name], MAY_PASS[kind], id=f"{name}-{kind}")
        for name, kind in product(EACH, MAY_PASS)
        if name not in NOT_READ or not kind.startswith("no-")
    ],
)
def test_what_may_pass_is_outlasted_and_happens_once(
    cinder: Cinder, service: VolumeService, on: str, how: dict[str, Any]
) -> None:
    cinder.troubles = [Trouble(on=on, times=2, **how)]
    go_through(service, Waiting(lambda: PATIENCE, rest=lambda _seconds: None))
    # What had happened the first time is seen, and not asked for a second time.
    assert sum(one.times for one in cinder.troubles) < 2
    assert cinder.state.volumes[ONE]["status"] == "available"
    assert not cinder.state.attachments
    assert len(cinder.state.exports) == 1


def test_an_answer_that_does_not_come_in_time_is_an_outage(
    cinder: Cinder, attachments: Attachments
) -> None:
    held = attachments.create(ONE, GUEST)
    cinder.troubles = [Trouble(on="PUT", late=2.0)]
    with pytest.raises(VolumeServiceUnavailable):
        attachments.connect(held.id, CONNECTOR)


def test_an_export_whose_answer_was_lost_is_seen_at_once(
    cinder: Cinder, attachments: Attachments
) -> None:
    held = attachments.create(ONE, GUEST)
    cinder.troubles = [Trouble(on="PUT", cut=True, done=True)]
    assert attachments.connect(held.id, CONNECTOR).properties["auth_password"] == CHAP
    assert len(cinder.state.exports) == 1


def test_an_update_that_answers_500_for_ever_is_not_asked_for_ever(
    cinder: Cinder, attachments: Attachments
) -> None:
    """So is that of an attachment whose first update died half-way, in some releases."""
    held = attachments.create(ONE, GUEST)
    cinder.troubles = [Trouble(on="PUT", status=500, times=1000)]
    rested: list[float] = []
    waiting = Waiting(lambda: 0.5, rest=rested.append)
    with pytest.raises(VolumeServiceUnavailable, match="either erred"):
        waiting.call("attachments.connect", lambda: attachments.connect(held.id, CONNECTOR))
    assert rested
    attachments.delete(held.id)
    assert cinder.state.volumes[ONE]["status"] == "available"


@pytest.mark.parametrize("how", [{"status": 503}, {"cut": True}], ids=["503", "cut"])
def test_the_libraries_do_not_ask_again_on_their_own(
    cinder: Cinder, service: VolumeService, how: dict[str, Any]
) -> None:
    """Operations do, and say so; what is asked once is heard once."""
    service.volumes.show(ONE)
    cinder.heard.clear()
    cinder.troubles = [Trouble(on=EACH["volume"], **how)]
    with pytest.raises(VolumeServiceUnavailable):
        service.volumes.show(ONE)
    assert cinder.asked(".") == 1


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("7", 7.0, 7.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0, 0.0),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 1e9, 1e12),
        ("soon", 0.0, 0.0),
    ],
)
def test_cinder_says_for_how_long_it_wants_to_be_spared(
    cinder: Cinder, service: VolumeService, said: str, low: float, high: float
) -> None:
    cinder.troubles = [Trouble(on=EACH["volume"], status=429, headers={"Retry-After": said})]
    with pytest.raises(VolumeServiceUnavailable) as told:
        service.volumes.show(ONE)
    assert low <= told.value.retry_after <= high


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestMalformed),
        (403, VolumeServiceForbids),
        (404, VolumeNotFound),
        (405, VolumeServiceRefused),
        (409, VolumeInUse),
        (413, VolumeServiceRefused),
        (418, VolumeServiceRefused),
        (501, VolumeServiceRefused),
    ],
)
def test_any_other_refusal_is_one_and_asked_once(
    cinder: Cinder, service: VolumeService, status: int, kind: type[WorkerError]
) -> None:
    cinder.troubles = [Trouble(on=EACH["volume"], status=status)]
    waiting = Waiting(lambda: PATIENCE, rest=lambda _seconds: None)
    with pytest.raises(kind):
        waiting.call("volumes.show", lambda: service.volumes.show(ONE))
    assert cinder.asked(EACH["volume"]) == 1


def test_a_refusal_has_cinders_words_and_the_number_of_its_request(
    cinder: Cinder, service: VolumeService
) -> None:
    cinder.troubles = [
        Trouble(
            on=EACH["volume"],
            status=413,
            body='{"overLimit": {"code": 413, "message": "too many"}}',
            headers={"x-openstack-request-id": "req-77"},
        )
    ]
    with pytest.raises(VolumeServiceRefused, match=r"too many \(HTTP 413, request req-77\)"):
        service.volumes.show(ONE)


def test_a_release_that_is_older_than_the_one_before_is_spoken_to_in_its_words(
    cinder: Cinder, service: VolumeService
) -> None:
    service.volumes.show(ONE)
    cinder.newest = "3.50"
    cinder.troubles = [Trouble(on=EACH["volume"], status=406)]
    with pytest.raises(VolumeServiceUnavailable):
        service.volumes.show(ONE)
    service.volumes.show(ONE)
    assert cinder.versions[-1] == "volume 3.50"


@pytest.mark.parametrize("done", [True, False], ids=["meanwhile", "still"])
def test_a_volume_that_is_detaching_meanwhile_is_fine(
    cinder: Cinder, service: VolumeService, *, done: bool
) -> None:
    cinder.state.volumes[ONE]["status"] = "in-use"
    said = '{"badRequest": {"code": 400, "message": "Invalid volume: Unable to detach volume."}}'
    cinder.troubles = [Trouble(on="POST .*/action$", status=400, body=said, done=done)]
    with nullcontext() if done else pytest.raises(VolumeInUse):
        service.volumes.begin_detaching(ONE)


def test_deleting_what_is_gone_is_fine_and_the_rest_is_not_found(
    cinder: Cinder, attachments: Attachments
) -> None:
    held = attachments.create(ONE, GUEST)
    for _ in range(2):
        attachments.delete(held.id)
    calls: list[Callable[[], object]] = [
        lambda: attachments.get(held.id),
        lambda: attachments.connect(held.id, CONNECTOR),
        lambda: attachments.complete(held.id),
    ]
    for call in calls:
        with pytest.raises(AttachmentNotFound):
            call()


def test_an_attachment_that_goes_while_it_is_listed_is_left_out(
    cinder: Cinder, attachments: Attachments
) -> None:
    attachments.create(ONE, GUEST)
    cinder.troubles = [Trouble(on=EACH["look"], status=404)]
    assert attachments.of_instance(GUEST) == ()


def test_a_list_that_was_not_filtered_does_not_mislead(
    cinder: Cinder, attachments: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = attachments.create(ONE, OTHER_GUEST)
    listed = cinder.state.listed({"instance_id": OTHER_GUEST})
    monkeypatch.setattr(cinder.state, "listed", lambda _query: listed)
    assert attachments.find(ONE, GUEST) is None
    assert attachments.find(ONE, OTHER_GUEST) == held


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500, "body": f'{{"fault": {{"message": "auth_password=\'{CHAP}\' is bad"}}}}'},
        {"status": 500, "body": f"Traceback: {CHAP}"},
        {
            "status": 200,
            "body": f'{{"attachment": {{"connection_info": "{CHAP}", "volume_id": 1}}}}',
        },
        {"status": 200, "body": f'{{"attachment": {{"id": "{CHAP}'},
    ],
    ids=["quoted", "traceback", "no-sense", "no-json"],
)
def test_what_cinder_says_in_its_trouble_is_not_told_whole(
    cinder: Cinder, attachments: Attachments, trouble: dict[str, Any]
) -> None:
    held = attachments.create(ONE, GUEST)
    cinder.troubles = [Trouble(on=EACH["look"], **trouble)]
    with pytest.raises(VolumeServiceUnavailable) as told:
        attachments.get(held.id)
    assert CHAP not in "".join(traceback.format_exception(told.value))


def test_what_cannot_be_read_is_not_quoted(cinder: Cinder, service: VolumeService) -> None:
    """Python does: ``invalid literal for int() with base 10: …``."""
    said = f'{{"volume": {{"id": "{ONE}", "status": "available", "size": "{CHAP}"}}}}'
    cinder.troubles = [Trouble(on=EACH["volume"], status=200, body=said)]
    with pytest.raises(VolumeServiceUnavailable, match="cannot be read: ValueError") as told:
        service.volumes.show(ONE)
    assert CHAP not in "".join(traceback.format_exception(told.value))


def test_a_cloud_that_clouds_yaml_does_not_know_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {ours: {auth_type: knitting}}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    for name in ("ours", "theirs"):
        given = {"volume__service": "cinder", "cinder__cloud": name}
        with pytest.raises(VolumeServiceUnsuitable):
            service_of(given).volumes.show(ONE)


def test_nobody_at_the_address_is_an_outage() -> None:
    with served() as gone:
        given = options(gone)
    with pytest.raises(VolumeServiceUnavailable, match="does not answer"):
        service_of(given).volumes.show(ONE)


class TestTls:
    @pytest.fixture
    def secure(self, certificate: tuple[Path, Path]) -> Iterator[Cinder]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        with served(context) as server:
            server.state.add(ONE)
            yield server

    def test_a_server_that_nobody_vouches_for_is_not_believed(self, secure: Cinder) -> None:
        with pytest.raises(VolumeServiceUnavailable, match="certificate"):
            service_of(options(secure)).volumes.show(ONE)
        assert secure.heard == []

    def test_one_that_cafile_knows_is_believed_and_insecure_asks_nobody(
        self, secure: Cinder, certificate: tuple[Path, Path]
    ) -> None:
        for given in ({"cafile": str(certificate[0])}, {"insecure": True}):
            assert service_of(options(secure, **given)).volumes.show(ONE).id == ONE

    @pytest.mark.parametrize(
        "given", [{"cafile": "/nowhere"}, {"certfile": "/nowhere", "keyfile": "/nowhere"}]
    )
    def test_a_file_that_is_not_there_is_named(
        self, secure: Cinder, certificate: tuple[Path, Path], given: dict[str, str]
    ) -> None:
        with pytest.raises(VolumeServiceUnsuitable, match="/nowhere"):
            service_of(options(secure, **{"cafile": str(certificate[0]), **given})).volumes.show(
                ONE
            )

    def test_a_server_may_want_to_know_the_worker_by_a_certificate(
        self, certificate: tuple[Path, Path]
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.load_verify_locations(certificate[0])
        context.verify_mode = ssl.CERT_REQUIRED
        known = {"cafile": str(certificate[0])}
        ours = {"certfile": str(certificate[0]), "keyfile": str(certificate[1])}
        with served(context) as server:
            server.state.add(ONE)
            with pytest.raises(VolumeServiceUnavailable):
                service_of(options(server, **known)).volumes.show(ONE)
            assert service_of(options(server, **known, **ours)).volumes.show(ONE).id == ONE
