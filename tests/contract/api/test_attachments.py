"""Volumes of a server, as Nova's clients ask for them."""

from tests.api_rig import ApiRig


def attachments(server: str, volume: str = "") -> str:
    return f"/v2.1/servers/{server}/os-volume_attachments" + (f"/{volume}" if volume else "")


def test_a_volume_is_attached_listed_shown_and_detached(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    wanted = {"volumeAttachment": {"volumeId": volume}}

    attached = api.ask("POST", attachments(server), wanted)
    assert attached.status == 202
    assert api.end_of(attached)["state"] == "succeeded"

    listed = api.ask("GET", attachments(server), version="2.1")
    assert listed.body == {
        "volumeAttachments": [
            {"id": volume, "serverId": server, "volumeId": volume, "device": "/dev/vda"}
        ]
    }
    shown = api.ask("GET", attachments(server, volume))
    assert shown.body["volumeAttachment"]["bdm_uuid"]

    detached = api.ask("DELETE", attachments(server, volume))
    assert detached.status == 202
    assert api.end_of(detached)["state"] == "succeeded"
    assert api.ask("GET", attachments(server, volume)).status == 404


def test_an_older_microversion_is_told_the_device(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    wanted = {"volumeAttachment": {"volumeId": volume}}
    attached = api.ask("POST", attachments(server), wanted, version="2.60")
    assert attached.status == 200
    assert attached.body["volumeAttachment"]["device"] == "/dev/vda"
