"""Whose an image is that a server is to boot from, where the images are Glance's."""

from dataclasses import replace

import pytest

from tests.api_rig import ApiRig, Json
from tests.contract.api.callers import MEMBER, STRANGER, As
from tests.contract.api.server_scenes import SERVERS, a_server, act, image, wanted
from tests.contract.api.test_server_actions import journal_of
from tests.fakes.images import FakeProjectImages
from worker.api.application import Application, Front
from worker.api.asked import Who
from worker.api.front.open_door import ANYBODY
from worker.api.routes import ROUTES
from worker.model.ids import ImageId


class Scene:
    """The rig on a Glance that has an image of a stranger's."""

    def __init__(self, api: ApiRig) -> None:
        self.api = api
        self.images = FakeProjectImages(api.world)
        self.theirs = image(api)
        self.images.owners[self.theirs] = str(STRANGER.project_id)

    def asked_by(self, who: Who) -> ApiRig:
        services = replace(self.api.services, images=None, project_images=self.images)
        front = Front(door=As(who))
        return replace(
            self.api, services=services, application=Application(ROUTES, services, front)
        )


@pytest.fixture
def scene(api: ApiRig) -> Scene:
    return Scene(api)


def bootable(image_: ImageId) -> Json:
    return {"source_type": "image", "uuid": image_, "boot_index": 0}


def test_no_server_is_built_of_another_projects_image(scene: Scene) -> None:
    mine = scene.asked_by(MEMBER)
    kernel = image(scene.api, kernel_id=scene.theirs)
    for named in (
        {"imageRef": scene.theirs},
        {"block_device_mapping_v2": [bootable(scene.theirs)]},
        {"imageRef": kernel},
    ):
        refused = mine.ask("POST", SERVERS, wanted(mine, **named))
        assert (refused.status, scene.theirs in refused.message) == (400, True)
    assert a_server(mine, imageRef=image(scene.api))


def test_none_is_rescued_with_it(scene: Scene) -> None:
    mine = scene.asked_by(MEMBER)
    server = a_server(mine)
    refused = act(mine, server, "rescue", {"rescue_image_ref": scene.theirs})
    assert (refused.status, scene.theirs in refused.message) == (400, True)
    assert len(journal_of(scene.api, server)) == 1


@pytest.mark.parametrize("who", [STRANGER, ANYBODY])
def test_its_owner_and_an_administrator_may(scene: Scene, who: Who) -> None:
    assert a_server(scene.asked_by(who), imageRef=scene.theirs)
