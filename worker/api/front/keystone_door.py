"""The door of Keystone: keystonemiddleware asks it whose a token is. Loaded if it is configured."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.util import setup_testing_defaults

from keystoneauth1.exceptions import ClientException
from keystonemiddleware.auth_token import AuthProtocol
from keystonemiddleware.exceptions import KeystoneMiddlewareException
from oslo_config import cfg

from worker.api.asked import Refused, Who
from worker.api.faults import AWAY
from worker.errors import Invalid

LOG = logging.getLogger(__name__)

GROUP = "keystone_authtoken"

OURS = {"delay_auth_decision": False, "service_token_roles_required": True}
"""Not the operator's to choose: what anybody may ask does not come here; and any valid token
would pass for a service's."""

Start = Callable[..., Any]


class KeystoneDoor:
    """Lets in whom Keystone knows.

    The middleware is asked here and not wrapped around the application: a request that anybody may
    make is answered without Keystone, whatever token came along and even while it is away.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Make the middleware; raises Invalid. Keystone is not asked yet."""
        try:
            self._middleware = AuthProtocol(_note, {"oslo_config_config": conf, **OURS})
            plugin = conf[GROUP].auth_type
        except (cfg.Error, ClientException, KeystoneMiddlewareException) as error:
            message = f"[{GROUP}] cannot be used: {error}"
            raise Invalid(message) from error
        if not plugin:
            message = f"[api] auth = keystone needs [{GROUP}] auth_type, and what it asks for"
            raise Invalid(message)

    def identify(self, environ: Mapping[str, Any]) -> Who:
        """Return who asks; raises Refused: 401, or 503 while Keystone does not answer."""
        asked = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
        for name in ("REQUEST_METHOD", "PATH_INFO"):
            asked[name] = environ.get(name, "")
        setup_testing_defaults(asked)
        status, headers = self._asked(asked)
        if not status.startswith("200"):
            raise _refused(int(status[:3]), dict(headers))
        return _who(asked["worker.identity"])

    def _asked(self, environ: dict[str, Any]) -> list[Any]:
        said: list[Any] = []
        try:
            answer = self._middleware(
                environ, lambda status, headers, *_: said.extend((status, headers))
            )
        except ClientException as error:
            raise _not_asked(error) from error
        _close(answer)
        return said


def _note(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Stand behind the middleware: whoever came so far is known."""
    environ["worker.identity"] = dict(environ)
    start("200 OK", [])
    return []


def _who(known: Mapping[str, Any]) -> Who:
    confirmed = known.get("HTTP_X_SERVICE_IDENTITY_STATUS") == "Confirmed"
    return Who(
        user_id=known.get("HTTP_X_USER_ID"),
        project_id=known.get("HTTP_X_PROJECT_ID"),
        roles=_roles(known.get("HTTP_X_ROLES", "")),
        service_roles=_roles(known.get("HTTP_X_SERVICE_ROLES", "")) if confirmed else frozenset(),
    )


def _roles(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split(",") if each.strip())


def _not_asked(error: ClientException) -> Refused:
    """Say in the log what the middleware does not foresee: no endpoint, or its account refused."""
    LOG.error("keystone not asked: error=%s", " ".join(str(error).split()))
    return _refused(AWAY, {})


def _refused(status: int, headers: Mapping[str, str]) -> Refused:
    if status == AWAY:
        message = "Keystone does not answer, so that nobody can be told from another; try again"
        return Refused(AWAY, message)
    where = {name: value for name, value in headers.items() if name == "WWW-Authenticate"}
    message = (
        "this request needs a token of Keystone that is valid; get one where WWW-Authenticate"
        " says, and send it in X-Auth-Token"
    )
    return Refused(401, message, where)


def _close(answer: Iterable[bytes]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()
