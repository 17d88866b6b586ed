"""Images and the files made of them, as the configuration asks for them."""

import os
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker.errors import Invalid
from worker.image.bases import bases
from worker.image.cache import CachedImages, CacheSettings
from worker.image.config_drives import IsoConfigDrives
from worker.image.folder import FolderImages
from worker.image.local_disks import FileLocalDisks
from worker.image.source import ImageSource
from worker.model.ids import ImageId
from worker.model.instance import Instance
from worker.ports import ProjectImages

MIB = 1 << 20


def make_images(conf: cfg.ConfigOpts, instances: Callable[[], Iterable[Instance]]) -> CachedImages:
    """Return the images and their cache; ``instances`` tells whose copies must stay."""
    cache, disks = cache_path(conf), instances_path(conf)
    settings = CacheSettings(
        folder=cache,
        owner=conf.host,
        reserve=conf.image.reserve * MIB,
        keep=conf.image.cache_keep,
    )
    return CachedImages(_source(conf), settings, lambda: bases(disks) | images_of(instances()))


def make_project_images(conf: cfg.ConfigOpts) -> ProjectImages | None:
    """Return Glance's images as projects may use them; None for a folder, which is everybody's."""
    if conf.image.service == "folder":
        return None
    glance = _glance(conf)
    images: ProjectImages = glance.GlanceOfProjects(_glance_settings(conf, glance))
    return images


def make_local_disks(conf: cfg.ConfigOpts) -> FileLocalDisks:
    """Return the disks that are files of this host."""
    return FileLocalDisks(instances_path(conf), reserve=conf.image.reserve * MIB)


def make_config_drives(conf: cfg.ConfigOpts) -> IsoConfigDrives:
    """Return the config drives, which are beside the disks."""
    return IsoConfigDrives(instances_path(conf))


def cache_path(conf: cfg.ConfigOpts) -> Path:
    """Return the folder of this host's copies of images."""
    return _folder(conf, conf.image.cache_path, "image-cache")


def instances_path(conf: cfg.ConfigOpts) -> Path:
    """Return the folder of local disks and config drives."""
    return _folder(conf, conf.image.instances_path, "instances")


def images_folder(conf: cfg.ConfigOpts) -> Path:
    """Return the folder of images."""
    folder = _images_path(conf)
    if conf.image.folder is None:
        # One that was configured may be a mount that is missing; this one may be empty.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def images_of(instances: Iterable[Instance]) -> frozenset[ImageId]:
    """Return the images that any of the instances was built of."""
    return frozenset(image for instance in instances for image in _built_of(instance))


def check_images(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid where [image] asks for what cannot be; makes and asks nothing."""
    folders = {"cache_path": cache_path(conf), "instances_path": instances_path(conf)}
    for name, path in folders.items():
        _check_folder(name, path, os.R_OK | os.W_OK | os.X_OK)
    if conf.image.service == "glance":
        _check_glance(conf)
    else:
        folders["folder"] = _images_path(conf)
        _check_folder("folder", folders["folder"], os.R_OK | os.X_OK)
    _check_apart(folders)


def _source(conf: cfg.ConfigOpts) -> ImageSource:
    if conf.image.service == "folder":
        return FolderImages(images_folder(conf))
    glance = _glance(conf)
    source: ImageSource = glance.GlanceImages(_glance_settings(conf, glance))
    return source


def _glance(conf: cfg.ConfigOpts) -> Any:  # noqa: ANN401 - a module
    _check_glance(conf)
    # By name: openstacksdk takes two seconds to load, and is not needed otherwise.
    return import_module("worker.image.glance")


def _glance_settings(conf: cfg.ConfigOpts, glance: Any) -> Any:  # noqa: ANN401 - a module's
    given = conf.image
    return glance.GlanceSettings(
        cloud=given.glance_cloud,
        endpoint=given.glance_endpoint,
        auth_type=given.glance_auth_type,
        auth=_credentials(conf),
        region=given.glance_region_name,
        cafile=given.glance_cafile,
        timeout=given.glance_timeout,
    )


def _credentials(conf: cfg.ConfigOpts) -> dict[str, str]:
    given = conf.image
    if given.glance_auth_type == "none":
        return {"endpoint": given.glance_endpoint}
    named = {
        "auth_url": given.glance_auth_url,
        "project_name": given.glance_project_name,
        "project_domain_name": given.glance_project_domain_name,
    }
    if given.glance_auth_type == "token":
        named["token"] = given.glance_token
    else:
        named["username"] = given.glance_username
        named["password"] = given.glance_password
        named["user_domain_name"] = given.glance_user_domain_name
    return {name: value for name, value in named.items() if value is not None}


_NEEDED = {
    "none": ("glance_endpoint",),
    "token": ("glance_auth_url", "glance_token"),
    "password": ("glance_auth_url", "glance_username", "glance_password", "glance_project_name"),
}


def _check_glance(conf: cfg.ConfigOpts) -> None:
    if conf.image.glance_cloud is not None:
        return
    kind = conf.image.glance_auth_type
    missing = [name for name in _NEEDED[kind] if not conf.image[name]]
    if missing:
        raise Invalid(
            f"[image] service = glance with glance_auth_type = {kind} needs {', '.join(missing)};"
            " or glance_cloud alone"
        )


def _images_path(conf: cfg.ConfigOpts) -> Path:
    return _folder(conf, conf.image.folder, "images")


def _folder(conf: cfg.ConfigOpts, given: str | None, default: str) -> Path:
    return Path(given or Path(conf.state_path).absolute() / default)


def _check_folder(name: str, path: Path, wanted: int) -> None:
    if not path.is_absolute():
        raise Invalid(f"[image] {name} = {path} is no absolute path")
    if not path.exists():
        return
    if not path.is_dir():
        raise Invalid(f"[image] {name} = {path} is no folder")
    if not os.access(path, wanted):
        raise Invalid(f"[image] {name} = {path} may not be used by this user")


def _check_apart(folders: dict[str, Path]) -> None:
    for name, path in folders.items():
        for other, place in folders.items():
            if name != other and path.resolve().is_relative_to(place.resolve()):
                raise Invalid(
                    f"[image] {name} = {path} lies in {other}; give each a folder of its own"
                )


def _built_of(instance: Instance) -> Iterator[ImageId]:
    made_as = instance.specification
    if made_as is not None:
        every = (made_as.image, made_as.kernel, made_as.ramdisk, *(d.image for d in made_as.disks))
        yield from (image for image in every if image is not None)
    if instance.rescue is not None:
        rescue = (instance.rescue.image, instance.rescue.kernel, instance.rescue.ramdisk)
        yield from (image for image in rescue if image is not None)
