"""The volume service, as the configuration asks for it."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker.errors import Invalid, WorkerError
from worker.persistence.repositories import Repositories
from worker.ports import Attachments, PoolVolumes, Volumes
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.luks import LuksContent
from worker.volume.pool.status import PoolStatus
from worker.volume.pool.volumes import FilePool
from worker.wiring.exports import Exports, check_exports
from worker.wiring.keys import pool_keys
from worker.wiring.settings import state_path

LOG = logging.getLogger(__name__)

NO_IDENTITY = "admin_token"
"""The plugin of keystoneauth that sends one token to one endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeService:
    """A volume service, as its ports."""

    volumes: Volumes
    attachments: Attachments
    pool: PoolVolumes


def make_volume_service(
    conf: cfg.ConfigOpts,
    repositories: Repositories,
    connector: Callable[[], Mapping[str, Any]],
    exports: Exports | None = None,
) -> VolumeService:
    """Return the adapters; nothing is asked yet. ``exports`` has the pool's volumes, if any has.

    ``connector`` returns what this host says of itself; a Cinder in legacy mode wants it again
    when a volume leaves. Raises Invalid for what cannot be meant.
    """
    if conf.volume.service == "cinder":
        return _cinder(conf, connector)
    folder = conf.volume.pool_path or state_path(conf) / "volumes"
    face = (exports and exports.face) or LocalFace(conf.host)
    return VolumeService(
        volumes=PoolStatus(records=repositories.pool),
        attachments=PoolAttachments(records=repositories.pool, face=face),
        pool=FilePool(
            records=repositories.pool,
            folder=Path(folder),
            face=face,
            content=LuksContent(pool_keys(conf)),
        ),
    )


def make_cinder_session(conf: cfg.ConfigOpts) -> Any:  # noqa: ANN401 - loaded by name
    """Return what asks Cinder, for whoever looks whether it can be asked; raises Invalid."""
    check_volumes(conf)
    given = conf.cinder
    settings = _loaded("settings")
    return _loaded("session").CinderSession(
        settings.CinderSettings(
            cloud=given.cloud,
            endpoint=_endpoint(conf, settings.endpoint_of),
            auth_type=_PLUGINS[given.auth_type],
            auth=_credentials(conf, settings.endpoint_of),
            region=given.region_name,
            interface=given.interface,
            cafile=given.cafile,
            insecure=given.insecure,
            certfile=given.certfile,
            keyfile=given.keyfile,
            timeout=given.timeout,
            service_token=given.service_token,
            service_role=given.service_role,
            legacy=given.attachments == "legacy",
        )
    )


def check_volumes(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid where [volume] and [cinder] ask for what cannot be; asks nobody."""
    check_exports(conf)
    if conf.volume.service != "cinder" or conf.cinder.cloud is not None:
        return
    kind = conf.cinder.auth_type
    missing = [name for name in _NEEDED[kind] if not conf.cinder[name]]
    if missing:
        raise Invalid(
            f"[volume] service = cinder with [cinder] auth_type = {kind} needs"
            f" {', '.join(missing)}; or cloud alone"
        )
    if bool(conf.cinder.certfile) != bool(conf.cinder.keyfile):
        raise Invalid("[cinder] certfile and keyfile: one is of no use without the other")


def lacks(conf: cfg.ConfigOpts) -> tuple[str, ...]:
    """Ask the volume service whether it will do what is going to be asked; say what is missing.

    Raises VolumeServiceUnavailable and its like where none answers, Invalid.
    """
    if conf.volume.service != "cinder":
        return ()
    found: tuple[str, ...] = _loaded("fitness").lacks(make_cinder_session(conf))
    return found


def name_what_is_lacking(conf: cfg.ConfigOpts) -> threading.Thread:
    """Log it, in a thread beside the start: a service that is away keeps nobody waiting."""
    thread = threading.Thread(target=_name, args=(conf,), daemon=True)
    thread.start()
    return thread


def _name(conf: cfg.ConfigOpts) -> None:
    try:
        for lack in lacks(conf):
            LOG.warning("volume service is unfit: %s", lack)
    except WorkerError as error:
        LOG.warning("volume service is unfit: %s", error)


def _cinder(conf: cfg.ConfigOpts, connector: Callable[[], Mapping[str, Any]]) -> VolumeService:
    session = make_cinder_session(conf)
    volumes = _loaded("volumes").CinderVolumes(session)
    if conf.cinder.attachments == "legacy":
        attachments = _loaded("legacy").LegacyAttachments(session, connector=connector)
    else:
        attachments = _loaded("attachments").CinderAttachments(session, volumes)
    pool = _loaded("making").CinderMaking(session)
    return VolumeService(volumes=volumes, attachments=attachments, pool=pool)


def _loaded(name: str) -> Any:  # noqa: ANN401 - a module
    """By name: openstacksdk takes two seconds to load, and is not needed otherwise."""
    return import_module(f"worker.volume.cinder.{name}")


_PLUGINS = {
    "password": "v3password",
    "application_credential": "v3applicationcredential",
    "token": "v3token",
    "admin_token": NO_IDENTITY,
    "noauth": NO_IDENTITY,
}
"""What keystoneauth calls each way."""

_NEEDED = {
    "password": ("auth_url", "username", "password", "project_name"),
    "application_credential": (
        "auth_url",
        "application_credential_id",
        "application_credential_secret",
    ),
    "token": ("auth_url", "token"),
    "admin_token": ("endpoint", "token"),
    "noauth": ("endpoint", "username", "project_id"),
}

_OF_A_PROJECT = ("project_name", "project_domain_name")
_GIVEN = {
    "password": ("auth_url", "username", "password", "user_domain_name", *_OF_A_PROJECT),
    "application_credential": _NEEDED["application_credential"],
    "token": ("auth_url", "token", *_OF_A_PROJECT),
}
"""What a plugin is given, by the names that it shares with the options."""


def _credentials(conf: cfg.ConfigOpts, endpoint_of: Callable[..., str]) -> dict[str, str]:
    given = conf.cinder
    match given.auth_type:
        case "noauth":
            who = f"{given.username}:{given.project_id}"
            return {"endpoint": endpoint_of(given.endpoint, given.project_id), "token": who}
        case "admin_token":
            return {"endpoint": endpoint_of(given.endpoint), "token": given.token}
        case kind:
            return {name: given[name] for name in _GIVEN[kind] if given[name] is not None}


def _endpoint(conf: cfg.ConfigOpts, endpoint_of: Callable[..., str]) -> str | None:
    """Return what is said instead of the catalogue; the plugin without an identity says it too."""
    given = conf.cinder
    if given.endpoint is None:
        return None
    project = given.project_id if given.auth_type == "noauth" else None
    return endpoint_of(given.endpoint, project)
