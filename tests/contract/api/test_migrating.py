"""What Cinder asks of its Nova when it moves a volume that is attached."""

import pytest

from tests.api_rig import ApiRig


@pytest.mark.parametrize("version", ["2.1", "2.101"])
@pytest.mark.parametrize("moving", [("old",), ("new",), ("old", "new")])
def test_a_volume_that_cinder_moves_is_not_swapped(
    api: ApiRig, version: str, moving: tuple[str, ...]
) -> None:
    """Whoever asks would wait for ever to be told that it is done."""
    server = api.server()
    old, new = (api.volume(migrating=name in moving) for name in ("old", "new"))
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    api.end_of(api.ask("POST", path, {"volumeAttachment": {"volumeId": old}}))

    asked = {"volumeAttachment": {"volumeId": new}}
    refused = api.ask("PUT", f"{path}/{old}", asked, version=version)
    assert refused.status == 409
    assert "detach it first" in refused.message
    (row,) = api.ask("GET", path).body["volumeAttachments"]
    assert row["volumeId"] == old
    assert all(held.volume != new for held in api.world.attachments.values())
