"""Which images a project may use, by Glance and by the fake that stands for it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.glance_server import Glance, served
from tests.contract.image_labs import GlanceLab
from tests.fakes.images import FakeProjectImages
from tests.fakes.world import World
from worker.errors import ImageNotFound, ImagesUnavailable
from worker.image.glance import GlanceOfProjects, GlanceSettings
from worker.model.ids import ImageId, new_uuid
from worker.model.image import Image
from worker.ports import ProjectImages

OWNER, OTHER = new_uuid(), new_uuid()


class Site(ABC):
    """An image service with projects."""

    images: ProjectImages

    @abstractmethod
    def give(self, owner: str | None = None, member: str | None = None) -> ImageId:
        """Give it an image, everybody's without an owner."""

    @abstractmethod
    def go_away(self) -> None: ...


class InWorld(Site):
    def __init__(self) -> None:
        self.world = World()
        self.images = self.fake = FakeProjectImages(self.world)

    def give(self, owner: str | None = None, member: str | None = None) -> ImageId:
        image = ImageId(new_uuid())
        self.world.images[image] = Image(id=image, name="image", format="raw")
        if owner is not None:
            self.fake.owners[image] = owner
        if member is not None:
            self.fake.shared.add((image, member))
        return image

    def go_away(self) -> None:
        self.world.images_away = True


class InGlance(Site):
    def __init__(self, folder: Path, glance: Glance) -> None:
        self.lab = GlanceLab(folder, glance)
        settings = GlanceSettings(
            endpoint=glance.url, auth_type="none", auth={"endpoint": glance.url}
        )
        self.images = GlanceOfProjects(settings)

    def give(self, owner: str | None = None, member: str | None = None) -> ImageId:
        seen = "private" if member is None else "shared"
        more = {} if owner is None else {"owner": owner, "visibility": seen}
        image = self.lab.give(b"disk", **more)
        if member is not None:
            self.lab.glance.members.add((image, member))
        return image

    def go_away(self) -> None:
        self.lab.go_away()


@pytest.fixture(params=["fake", "glance"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "fake":
        yield InWorld()
        return
    with served() as glance:
        yield InGlance(tmp_path, glance)


@pytest.mark.parametrize("project", [OWNER, OTHER, None], ids=["owner", "other", "nobody"])
def test_everybodys_is_found_by_all(site: Site, project: str | None) -> None:
    image = site.give()
    assert site.images.find(image, project).id == image


def test_a_projects_own_is_found_by_it_alone(site: Site) -> None:
    image = site.give(OWNER)
    assert site.images.find(image, OWNER).id == image
    for project in (OTHER, None):
        with pytest.raises(ImageNotFound):
            site.images.find(image, project)


def test_what_is_shared_is_found_by_whom_it_is_shared_with(site: Site) -> None:
    image = site.give(OWNER, member=OTHER)
    assert site.images.find(image, OWNER).id == image
    assert site.images.find(image, OTHER).id == image
    for project in (new_uuid(), None):
        with pytest.raises(ImageNotFound):
            site.images.find(image, project)


def test_what_is_kept_back_is_told_of_as_what_is_not_there(site: Site) -> None:
    there, nowhere = site.give(OWNER), ImageId(new_uuid())
    said = []
    for image in (there, nowhere):
        with pytest.raises(ImageNotFound) as refused:
            site.images.find(image, OTHER)
        said.append(str(refused.value).replace(image, "it"))
    assert said[0] == said[1]


def test_a_service_that_is_away_is_no_refusal(site: Site) -> None:
    image = site.give(OWNER)
    site.go_away()
    with pytest.raises(ImagesUnavailable):
        site.images.find(image, OWNER)
