"""Requests to Cinder: one at a time, each made once; who asks again is the operation."""

import threading
from collections.abc import Mapping
from typing import Any

import requests
from keystoneauth1.adapter import Adapter
from keystoneauth1.service_token import ServiceTokenAuthWrapper
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from worker.errors import VolumeServiceUnavailable
from worker.volume.cinder.faults import CinderRefused, check, translated, understood
from worker.volume.cinder.settings import CinderSettings
from worker.volume.cinder.versions import FIRST, LEAST, negotiated, versions_url

SERVICE = "block-storage"

Body = Mapping[str, Any]


class CinderSession:
    """Asks Cinder, as the worker's account; nothing is asked before the first request is."""

    def __init__(self, settings: CinderSettings) -> None:
        """Remember how Cinder is reached."""
        self.settings = settings
        self._lock = threading.Lock()
        self._adapter: Adapter | None = None
        self._version: str | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Body:
        """Return Cinder's answer; empty where it says nothing but yes.

        Raises CinderRefused, VolumeServiceForbids, VolumeServiceUnsuitable, and
        VolumeServiceUnavailable for what may be asked again: it may have happened all the same.
        """
        version = self.version()
        try:
            return self._answer(path, method, body, microversion=version, params=query)
        except CinderRefused as error:
            if error.status != requests.codes.not_acceptable:
                raise
            # Another release serves there now: agree anew the next time.
            self._version = None
            raise VolumeServiceUnavailable(str(error)) from error

    def version(self) -> str:
        """Return the microversion that is spoken; raises as ``ask`` does."""
        if self._version is None:
            with translated():
                endpoint = self.adapter().get_endpoint()
            said = self._answer(versions_url(endpoint or ""), "GET", None)
            self._version = negotiated(said, FIRST if self.settings.legacy else LEAST)
        return self._version

    def adapter(self) -> Adapter:
        """Return what carries requests to the endpoint, with tokens."""
        with self._lock, translated():
            if self._adapter is None:
                self._adapter = _connect(self.settings)
            return self._adapter

    def _answer(self, url: str, method: str, body: Body | None, **more: Any) -> Body:  # noqa: ANN401
        with translated():
            # Not logged: bodies have the secrets of connections, whatever names they go by.
            response = self.adapter().request(
                url, method, json=body, raise_exc=False, log=False, **more
            )
        check(response)
        return _read(response)


def _read(response: requests.Response) -> Body:
    if not response.content:
        return {}
    with understood():
        said = response.json()
        if not isinstance(said, Mapping):
            raise TypeError
        return said


def _connect(settings: CinderSettings) -> Adapter:
    cloud = _cloud(settings)
    session = cloud.get_session()
    if settings.service_token and session.auth is not None:
        # One account, one token: Cinder asks of it whether it is a user's and a service's.
        session.auth = ServiceTokenAuthWrapper(session.auth, session.auth)
    return Adapter(
        session,
        service_type=SERVICE,
        interface=cloud.get_interface(SERVICE),
        region_name=cloud.get_region_name(SERVICE),
        endpoint_override=cloud.get_endpoint(SERVICE),
        min_version="3",
        max_version="3.latest",
    )


def _cloud(settings: CinderSettings) -> CloudRegion:
    if settings.cloud is not None:
        return OpenStackConfig().get_one(settings.cloud, api_timeout=settings.timeout)
    given: dict[str, Any] = {
        "block_storage_endpoint_override": settings.endpoint,
        "region_name": settings.region,
        "interface": settings.interface,
        "cacert": settings.cafile,
        "cert": settings.certfile,
        "key": settings.keyfile,
    }
    return OpenStackConfig(load_yaml_config=False, load_envvars=False).get_one(
        auth_type=settings.auth_type,
        auth=dict(settings.auth),
        api_timeout=settings.timeout,
        verify=not settings.insecure,
        **{name: value for name, value in given.items() if value is not None},
    )
