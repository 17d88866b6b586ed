"""Glance, through openstacksdk."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import openstack
import requests
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import (
    ForbiddenException,
    NotFoundException,
    SDKException,
    raise_from_response,
)

from worker.errors import ImageNotFound, ImageRefused, ImagesUnavailable
from worker.image.source import ImageSource, check_id
from worker.model.ids import ImageId
from worker.model.image import Image
from worker.ports import ProjectImages

CHUNK = 1 << 20

_OF_GLANCE = frozenset(
    {
        "id",
        "name",
        "disk_format",
        "container_format",
        "size",
        "virtual_size",
        "status",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "min_disk",
        "min_ram",
        "owner",
        "visibility",
        "protected",
        "tags",
        "created_at",
        "updated_at",
        "self",
        "file",
        "schema",
        "direct_url",
        "locations",
        "os_hidden",
        "stores",
    }
)
"""What Glance itself says of an image; every other key is a property that someone has set."""


_WITHOUT_RETRIES: Any = {"image_status_code_retries": 0}
"""An operation waits for Glance as for every other part, and says so meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceSettings:
    """How Glance is reached; ``cloud``, a name in clouds.yaml, stands for all but the time.

    ``timeout`` is in seconds, for an answer and for each next piece of a download.
    """

    cloud: str | None = None
    endpoint: str | None = None
    auth_type: str = "password"
    auth: Mapping[str, str] = field(default_factory=dict, repr=False)
    region: str | None = None
    cafile: str | None = None
    timeout: float = 60.0


class GlanceImages(ImageSource):
    """Images of Glance's API v2; nothing is asked before the first image is."""

    def __init__(self, settings: GlanceSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._proxy: Any = None

    def show(self, image: ImageId) -> Image:
        """Return what Glance says; an image that is not active yet is unavailable."""
        check_id(image)
        with _translated(image):
            # As it is on the wire: the SDK gives some properties other names.
            said = self.ask(f"/images/{image}").json()
        if said.get("status") != "active":
            raise ImagesUnavailable(f"image {image} is {said.get('status')}, not active")
        return _image(image, said)

    def version(self, image: Image) -> str:
        """Return the checksum; content never changes under an id of Glance's."""
        return image.checksum[1] if image.checksum is not None else str(image.size)

    def read(self, image: ImageId) -> Iterator[bytes]:
        """Yield the content."""
        check_id(image)
        with _translated(image):
            response = self.ask(f"/images/{image}/file", stream=True)
            with response:
                yield from response.iter_content(CHUNK)

    def ask(self, path: str, *, stream: bool = False) -> requests.Response:
        """Return what Glance answers, its errors as the SDK's."""
        response: requests.Response = self._service().get(
            path, stream=stream, headers={"Accept": "*/*"}
        )
        raise_from_response(response)
        return response

    def _service(self) -> Any:  # noqa: ANN401 - the SDK's proxy, made while it runs
        with self._lock:
            if self._proxy is None:
                self._proxy = _connect(self._settings).image
            return self._proxy


def _connect(settings: GlanceSettings) -> Any:  # noqa: ANN401 - the SDK's connection
    if settings.cloud is not None:
        return openstack.connect(
            cloud=settings.cloud, api_timeout=settings.timeout, **_WITHOUT_RETRIES
        )
    given: dict[str, Any] = {
        "image_endpoint_override": settings.endpoint,
        "region_name": settings.region,
        "cacert": settings.cafile,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type=settings.auth_type,
        auth=dict(settings.auth),
        image_api_version="2",
        api_timeout=settings.timeout,
        **_WITHOUT_RETRIES,
        **given,
    )


class GlanceOfProjects(ProjectImages):
    """The same images, as far as a project may use them: the account that asks may see more."""

    def __init__(self, settings: GlanceSettings) -> None:
        self._images = GlanceImages(settings)

    def find(self, image: ImageId, project: str | None) -> Image:
        """Return it, be it active or not yet."""
        check_id(image)
        with _translated(image):
            said = self._images.ask(f"/images/{image}").json()
            if not self._is_for(project, image, said):
                raise ImageNotFound(f"no image {image} in Glance")
        return _image(image, said)

    def _is_for(self, project: str | None, image: ImageId, said: Mapping[str, Any]) -> bool:
        if said.get("visibility") in _EVERYBODYS:
            return True
        if project is None:
            return False
        shared = said.get("visibility") == "shared"
        return said.get("owner") == project or (shared and self._is_member(project, image))

    def _is_member(self, project: str, image: ImageId) -> bool:
        try:
            self._images.ask(f"/images/{image}/members/{quote(project, safe='')}")
        except (NotFoundException, ForbiddenException):
            return False
        return True


_EVERYBODYS = ("public", "community")


@contextmanager
def _translated(image: ImageId) -> Iterator[None]:
    try:
        yield
    except NotFoundException as error:
        raise ImageNotFound(f"no image {image} in Glance") from error
    except ForbiddenException as error:
        raise ImageRefused(f"image {image}: Glance does not give it: {error}") from error
    except (SDKException, ClientException, requests.RequestException, ValueError) as error:
        raise ImagesUnavailable(f"Glance: {error}") from error


def _image(image: ImageId, said: Mapping[str, Any]) -> Image:
    return Image(
        id=image,
        name=said.get("name") or image,
        format=said.get("disk_format") or "unknown",
        size=said.get("size"),
        min_disk=said.get("min_disk") or 0,
        min_memory=said.get("min_ram") or 0,
        checksum=_checksum(said),
        properties={
            name: str(value)
            for name, value in said.items()
            if name not in _OF_GLANCE and value is not None
        },
    )


def _checksum(said: Mapping[str, Any]) -> tuple[str, str] | None:
    if said.get("os_hash_algo") and said.get("os_hash_value"):
        return said["os_hash_algo"], said["os_hash_value"]
    return ("md5", said["checksum"]) if said.get("checksum") else None
