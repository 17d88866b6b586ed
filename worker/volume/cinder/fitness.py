"""Whether Cinder will do what the worker is going to ask: looked at once, before anything is."""

from collections.abc import Iterator

from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.service_token import ServiceTokenAuthWrapper

from worker.volume.cinder.faults import translated
from worker.volume.cinder.session import CinderSession

NO_DETACH = "Cinder will not let a volume that is in use be detached (CVE-2023-2088)"


def lacks(session: CinderSession) -> tuple[str, ...]:
    """Return a sentence for each thing that is missing.

    Raises VolumeServiceUnavailable, VolumeServiceForbids, VolumeServiceUnsuitable where no Cinder
    answers that the worker can use.
    """
    session.version()
    return tuple(_of_service_token(session))


def _of_service_token(session: CinderSession) -> Iterator[str]:
    auth = session.adapter().session.auth
    if not isinstance(auth, ServiceTokenAuthWrapper):
        yield f"[cinder] service_token is off: {NO_DETACH}"
        return
    service, role = auth.service_auth, session.settings.service_role
    if not isinstance(service, BaseIdentityPlugin):
        yield f"without an identity service nobody can tell who is a service: perhaps {NO_DETACH}"
        return
    with translated():
        roles = service.get_access(session.adapter().session).role_names or []
    if role not in roles:
        held = ", ".join(sorted(roles)) or "none"
        yield f"the worker's account lacks the role {role!r} (it has {held}): {NO_DETACH}"
