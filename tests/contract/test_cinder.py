"""Cinder beyond what every volume service promises: who asks, in which words, and what is told."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cinder_answers import PROJECT
from tests.contract.cinder_labs import CONNECTOR, by_keystone, options, service_of, session_of
from tests.contract.cinder_server import PASSWORD, TOKEN, Cinder, served
from tests.contract.cinder_state import CHAP
from worker import conf
from worker.errors import (
    EncryptionUnsupported,
    RequestMalformed,
    VolumeInUse,
    VolumeServiceForbids,
    VolumeServiceUnsuitable,
)
from worker.model.ids import InstanceId, KeyId, VolumeId
from worker.model.volume import GIB, AttachmentStatus, Encryption, NewVolume, VolumeStatus
from worker.volume.cinder.fitness import lacks
from worker.wiring.volumes import name_what_is_lacking

ONE = VolumeId("11111111-1111-4111-8111-111111111111")
TWO = VolumeId("22222222-2222-4222-8222-222222222222")
GUEST = InstanceId("33333333-3333-4333-8333-333333333333")


@pytest.fixture
def cinder() -> Iterator[Cinder]:
    with served() as server:
        server.state.add(ONE)
        yield server


def a_whole_life(cinder: Cinder, **more: object) -> None:
    """Attach and detach by an account of Keystone's."""
    service = service_of(by_keystone(cinder, **more))
    held = service.attachments.create(ONE, GUEST)
    service.attachments.connect(held.id, CONNECTOR)
    service.attachments.complete(held.id)
    service.volumes.begin_detaching(ONE)
    service.attachments.delete(held.id)


BY_CREDENTIAL = {
    "auth_type": "application_credential",
    "application_credential_id": "a-credential",
    "application_credential_secret": PASSWORD,
}


@pytest.mark.parametrize(
    "account",
    [{}, BY_CREDENTIAL, {"auth_type": "token", "token": f"{TOKEN}0"}],
    ids=["password", "application_credential", "token"],
)
def test_who_asks_is_shown_by_keystone_and_no_secret_is_logged(
    cinder: Cinder, account: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        a_whole_life(cinder, **account)
    assert cinder.state.volumes[ONE]["status"] == "available"
    assert cinder.state.exports
    assert caplog.records
    for secret in (PASSWORD, TOKEN, CHAP):
        assert secret not in caplog.text


@pytest.mark.parametrize("service_type", ["volumev3", "block-storage", "block-store"])
def test_cinder_is_found_in_the_catalogue_by_each_of_its_names(
    cinder: Cinder, service_type: str
) -> None:
    cinder.service_type = service_type
    assert service_of(by_keystone(cinder)).volumes.show(ONE).size == GIB


def test_a_cloud_of_clouds_yaml_says_it_all(
    cinder: Cinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"{cinder.url}/volume/v3/{PROJECT}"
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(
        f"clouds: {{ours: {{auth_type: admin_token, auth: {{endpoint: '{where}', token: any}}}}}}"
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    given = {"volume__service": "cinder", "cinder__cloud": "ours"}
    assert service_of(given).volumes.show(ONE).id == ONE


@pytest.mark.parametrize("endpoint", ["/volume", "/volume/v3", f"/volume/v3/{PROJECT}"])
def test_without_keystone_the_project_is_in_the_address(cinder: Cinder, endpoint: str) -> None:
    service = service_of(options(cinder, endpoint=cinder.url + endpoint))
    assert service.volumes.show(ONE).id == ONE
    assert cinder.heard[-1] == f"GET /volume/v3/{PROJECT}/volumes/{ONE}"


def test_an_admin_token_is_sent_as_it_is(cinder: Cinder) -> None:
    cinder.identity = True
    cinder.given = 7
    where = f"{cinder.url}/volume/v3/{PROJECT}"
    token = {"auth_type": "admin_token", "endpoint": where, "token": f"{TOKEN}7"}
    assert service_of(options(cinder, **token)).volumes.show(ONE).id == ONE


def test_whose_a_volume_is_is_known_where_cinder_says_it(cinder: Cinder) -> None:
    service = service_of(by_keystone(cinder))
    assert service.volumes.show(ONE).project_id is None
    cinder.state.volume(ONE)["os-vol-tenant-attr:tenant_id"] = PROJECT
    assert service.volumes.show(ONE).project_id == PROJECT


@pytest.mark.parametrize("said", ["starting", "migrating", "completing", f"target:{ONE}"])
def test_a_volume_that_cinder_moves_is_known_as_such(cinder: Cinder, said: str) -> None:
    service = service_of(by_keystone(cinder))
    cinder.state.volume(ONE)["migration_status"] = said
    assert service.volumes.show(ONE).migrating


@pytest.mark.parametrize("said", [None, "none", "error", "success"])
def test_a_volume_that_was_moved_or_never_is_like_any_other(
    cinder: Cinder, said: str | None
) -> None:
    service = service_of(by_keystone(cinder))
    cinder.state.volume(ONE)["migration_status"] = said
    assert not service.volumes.show(ONE).migrating


def test_a_token_that_is_not_taken_any_more_is_renewed_once(cinder: Cinder) -> None:
    service = service_of(by_keystone(cinder))
    service.volumes.show(ONE)
    cinder.revoked = cinder.given
    service.volumes.show(ONE)
    assert cinder.given == 2
    assert cinder.asked(f"volumes/{ONE}") == 3


def test_a_cinder_that_takes_no_token_of_ours_is_named(cinder: Cinder) -> None:
    service = service_of(by_keystone(cinder))
    cinder.revoked = 1000
    with pytest.raises(VolumeServiceForbids, match="HTTP 401"):
        service.volumes.show(ONE)
    assert cinder.given == 2


def test_an_account_that_cinder_does_not_let_in_is_not_asked_about_again(cinder: Cinder) -> None:
    wrong = by_keystone(cinder, password="another-secret")
    with pytest.raises(VolumeServiceForbids) as told:
        service_of(wrong).volumes.show(ONE)
    assert "another-secret" not in str(told.value)
    assert cinder.asked("auth/tokens") == 1


class TestVersions:
    @pytest.mark.parametrize(
        ("newest", "spoken"), [("3.71", "3.54"), ("3.54", "3.54"), ("3.44", "3.44")]
    )
    def test_the_newest_that_both_know_is_spoken(
        self, cinder: Cinder, newest: str, spoken: str
    ) -> None:
        cinder.newest = newest
        service = service_of(options(cinder))
        for _ in range(2):
            service.volumes.show(ONE)
        assert cinder.versions == [f"volume {spoken}"] * 2
        assert cinder.asked("/volume/v3/$") == 1

    @pytest.mark.parametrize(("oldest", "newest"), [("3.0", "3.43"), ("3.60", "3.99")])
    def test_a_cinder_of_another_age_is_named(
        self, cinder: Cinder, oldest: str, newest: str
    ) -> None:
        cinder.oldest, cinder.newest = oldest, newest
        with pytest.raises(VolumeServiceUnsuitable, match=rf"{oldest} to {newest}.*3\.44 to 3\.54"):
            service_of(options(cinder)).volumes.show(ONE)

    def test_what_is_no_cinder_is_named(self, cinder: Cinder) -> None:
        with pytest.raises(VolumeServiceUnsuitable):
            service_of(by_keystone(cinder, region_name="elsewhere")).volumes.show(ONE)


class TestServiceToken:
    def test_without_one_what_is_in_use_is_not_deleted_and_the_message_says_why(
        self, cinder: Cinder
    ) -> None:
        with pytest.raises(VolumeServiceForbids, match="role 'service'"):
            a_whole_life(cinder, service_token=False)
        assert cinder.state.attachments

    def test_it_is_looked_for_before_it_is_needed(self, cinder: Cinder) -> None:
        assert lacks(session_of(by_keystone(cinder))) == ()
        [off] = lacks(session_of(by_keystone(cinder, service_token=False)))
        cinder.roles = ("admin", "reader")
        [lacking] = lacks(session_of(by_keystone(cinder)))
        cinder.identity = False
        [unknown] = lacks(session_of(options(cinder)))
        assert "service_token is off" in off
        assert "(it has admin, reader)" in lacking
        assert "without an identity service" in unknown

    def test_what_is_lacking_is_named_at_the_start(
        self, cinder: Cinder, caplog: pytest.LogCaptureFixture
    ) -> None:
        cinder.roles = ("admin",)
        for given in (by_keystone(cinder), by_keystone(cinder, password="wrong"), {}):
            name_what_is_lacking(conf.load(**given)).join()
        [lacking, refused] = [
            one.getMessage() for one in caplog.records if one.name == "worker.wiring.volumes"
        ]
        assert "volume service is unfit: the worker's account lacks the role 'service'" in lacking
        assert "volume service is unfit: Keystone" in refused


class TestVolumes:
    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("extending", VolumeStatus.EXTENDING),
            ("error_restoring", VolumeStatus.ERROR),
            ("knitting", VolumeStatus.OTHER),
        ],
    )
    def test_every_state_of_cinders_has_a_word(
        self, cinder: Cinder, word: str, status: VolumeStatus
    ) -> None:
        cinder.state.volumes[ONE]["status"] = word
        assert service_of(options(cinder)).volumes.show(ONE).status is status

    def test_how_a_volume_is_encrypted(self, cinder: Cinder) -> None:
        volumes = service_of(options(cinder)).volumes
        with pytest.raises(EncryptionUnsupported, match="not encrypted"):
            volumes.encryption(ONE)
        cinder.state.volumes[ONE]["encrypted"] = True
        said = {"encryption_key_id": TWO, "provider": "luks2", "control_location": "front-end"}
        cinder.state.encryption[ONE] = said
        assert volumes.encryption(ONE) == Encryption(provider="luks2", key=KeyId(TWO))
        said["control_location"] = "back-end"
        with pytest.raises(EncryptionUnsupported, match="back-end"):
            volumes.encryption(ONE)

    def test_a_volume_that_is_gone_is_not_detaching(self, cinder: Cinder) -> None:
        volumes = service_of(options(cinder)).volumes
        volumes.begin_detaching(TWO)
        volumes.roll_detaching(TWO)

    def test_the_worker_deletes_volumes_and_makes_none(self, cinder: Cinder) -> None:
        pool = service_of(options(cinder)).pool
        with pytest.raises(RequestMalformed):
            pool.list()
        for refused in (pool.confirm, pool.create):
            with pytest.raises(RequestMalformed, match=TWO):
                refused(NewVolume(id=TWO, size=1))
        with pytest.raises(RequestMalformed, match=TWO):
            pool.grow(TWO, 1)
        for _ in range(2):
            pool.delete(ONE)
        assert cinder.state.volumes == {}


class TestAttachments:
    def test_what_only_the_list_of_another_project_shows_is_asked_for(self, cinder: Cinder) -> None:
        service_of(options(cinder)).attachments.find(ONE, GUEST)
        assert "all_tenants=1" in cinder.heard[-1]

    def test_an_instance_has_more_attachments_than_fit_on_a_page(self, cinder: Cinder) -> None:
        cinder.state.page = 2
        attachments = service_of(options(cinder)).attachments
        for number in range(5):
            volume = VolumeId(f"{number}{ONE[1:]}")
            cinder.state.add(volume)
            attachments.create(volume, GUEST)
        assert len(attachments.of_instance(GUEST)) == 5

    def test_of_two_to_one_instance_the_one_that_came_furthest_counts(self, cinder: Cinder) -> None:
        attachments = service_of(options(cinder)).attachments
        first = attachments.create(ONE, GUEST)
        attachments.connect(first.id, CONNECTOR)
        attachments.complete(first.id)
        cinder.state.reserve({"volume_uuid": ONE, "instance_uuid": GUEST})
        found = attachments.find(ONE, GUEST)
        assert found is not None
        assert (found.id, found.status) == (first.id, AttachmentStatus.ATTACHED)

    def test_a_volume_of_several_guests_says_so(self, cinder: Cinder) -> None:
        cinder.state.volumes[ONE]["multiattach"] = True
        attachments = service_of(options(cinder)).attachments
        connection = attachments.connect(attachments.create(ONE, GUEST).id, CONNECTOR)
        assert connection.protocol == "iscsi"
        assert connection.properties["multiattach"] is True
        assert connection.properties["auth_password"] == CHAP
        assert {"driver_volume_type", "attachment_id"}.isdisjoint(connection.properties)

    def test_a_format_alone_is_no_connection(self, cinder: Cinder) -> None:
        """Cinder says the format of an NFS volume with an attachment that was only reserved."""
        attachments = service_of(options(cinder)).attachments
        held = attachments.create(ONE, GUEST)
        cinder.state.attachments[held.id]["connection_info"] = {"format": "raw"}
        assert attachments.get(held.id).connection is None

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("error_attaching", AttachmentStatus.ATTACHING),
            ("error_detaching", AttachmentStatus.ATTACHED),
            ("detached", AttachmentStatus.RESERVED),
            ("knitting", AttachmentStatus.RESERVED),
        ],
    )
    def test_an_attachment_in_trouble_has_come_as_far_as_it_had(
        self, cinder: Cinder, word: str, status: AttachmentStatus
    ) -> None:
        attachments = service_of(options(cinder)).attachments
        held = attachments.create(ONE, GUEST)
        cinder.state.attachments[held.id]["status"] = word
        assert attachments.get(held.id).status is status

    def test_a_connector_that_cinder_cannot_use_is_refused(self, cinder: Cinder) -> None:
        attachments = service_of(options(cinder)).attachments
        held = attachments.create(ONE, GUEST)
        with pytest.raises(RequestMalformed, match="has no host"):
            attachments.connect(held.id, {"ip": "192.0.2.1"})

    def test_a_volume_in_a_wrong_state_is_in_use(self, cinder: Cinder) -> None:
        cinder.state.volumes[ONE]["status"] = "retyping"
        with pytest.raises(VolumeInUse, match="current status is retyping"):
            service_of(options(cinder)).attachments.create(ONE, GUEST)

    def test_what_is_attached_is_not_reported_again(self, cinder: Cinder) -> None:
        """Cinder would end a detach that has begun."""
        service = service_of(options(cinder))
        held = service.attachments.create(ONE, GUEST)
        service.attachments.complete(held.id)
        service.volumes.begin_detaching(ONE)
        service.attachments.complete(held.id)
        assert service.volumes.show(ONE).status is VolumeStatus.DETACHING
