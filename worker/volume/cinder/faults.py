"""What Cinder's refusals mean, by status; only what may pass by itself is asked again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from keystoneauth1.exceptions import (
    AuthorizationFailure,
    AuthPluginException,
    CatalogException,
    ClientException,
    HttpError,
)
from openstack.exceptions import ConfigException, SDKException
from oslo_utils.strutils import mask_password

from worker.errors import (
    AttachmentNotFound,
    RequestMalformed,
    VolumeInUse,
    VolumeNotFound,
    VolumeServiceForbids,
    VolumeServiceRefused,
    VolumeServiceUnavailable,
    VolumeServiceUnsuitable,
    WorkerError,
)
from worker.model.ids import AttachmentId, VolumeId

MAY_PASS = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same may be asked again."""

WRONG_STATE = "Invalid volume"
"""How Cinder begins to say that the state of a volume does not allow what was asked (400)."""

ONLY_A_SERVICE = (
    "Cinder lets only a service withdraw what is in use: give the worker's account the role"
    " 'service' and leave [cinder] service_token on (CVE-2023-2088)"
)

_LONGEST = 400


class CinderRefused(VolumeServiceRefused):
    """Cinder answered with a status that asking again does not change."""

    def __init__(self, message: str, *, status: int) -> None:
        """``status`` is HTTP's."""
        super().__init__(message)
        self.status = status


def check(response: requests.Response) -> None:
    """Raise what the status means, unless it is a success."""
    if not response.ok:
        request = response.headers.get("x-openstack-request-id") or "without id"
        raise fault(
            response.status_code,
            f"{_said_in(response)} (HTTP {response.status_code}, request {request})",
            retry_after=seconds(response.headers.get("Retry-After")),
        )


def fault(status: int, said: str, *, retry_after: float = 0.0) -> WorkerError:
    """Return the error that a status stands for."""
    message = f"Cinder: {said}"
    if status in MAY_PASS:
        return VolumeServiceUnavailable(message, retry_after=retry_after)
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return VolumeServiceForbids(message)
    return CinderRefused(message, status=status)


def of_volume(error: CinderRefused, volume: VolumeId) -> WorkerError:
    """Return what a refused request about a volume means."""
    if error.status == requests.codes.not_found:
        return VolumeNotFound(f"Cinder knows no volume {volume}")
    return of_state(error)


def of_attachment(error: CinderRefused, attachment: AttachmentId) -> WorkerError:
    """Return what a refused request about an attachment means."""
    if error.status == requests.codes.not_found:
        return AttachmentNotFound(f"Cinder knows no attachment {attachment}")
    return of_state(error)


def of_state(error: CinderRefused) -> WorkerError:
    """Return what a refusal means that is not for want of what was named."""
    if error.status == requests.codes.conflict or WRONG_STATE in str(error):
        return VolumeInUse(str(error))
    if error.status == requests.codes.bad_request:
        return RequestMalformed(str(error))
    return error


def of_letting_go(error: CinderRefused) -> WorkerError:
    """Return what it means that an export is not withdrawn: only a service may have it done."""
    if error.status == requests.codes.conflict:
        return VolumeServiceForbids(f"{error}; {ONLY_A_SERVICE}")
    return error


def seconds(retry_after: str | None) -> float:
    """Return for how long a ``Retry-After`` asks to be spared; 0 for one that cannot be read."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        wanted = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if wanted.tzinfo is None:
        return 0.0
    return max(0.0, (wanted - datetime.now(UTC)).total_seconds())


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors for those of the libraries that carry a request."""
    try:
        yield
    except HttpError as error:
        # Keystone's, or a version document's: what Cinder itself answers is not raised.
        raise _of_identity(error) from error
    except AuthorizationFailure as error:
        raise VolumeServiceForbids(f"Keystone: {error}") from error
    except (AuthPluginException, CatalogException, ConfigException) as error:
        raise VolumeServiceUnsuitable(f"no Cinder is to be found: {error}") from error
    except (SDKException, ClientException, requests.RequestException) as error:
        raise VolumeServiceUnavailable(f"Cinder does not answer: {error}") from error
    except OSError as error:
        # What is left of these: a certificate or key that is not where the options say.
        raise VolumeServiceUnsuitable(f"Cinder cannot be asked: {error}") from error


@contextmanager
def understood() -> Iterator[None]:
    """Raise VolumeServiceUnavailable for an answer that is not of the form that Cinder's have."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What could not be read may hold secrets: the name of the trouble has to do.
        kind = type(error).__name__
        raise VolumeServiceUnavailable(f"Cinder's answer cannot be read: {kind}") from None


def _of_identity(error: HttpError) -> WorkerError:
    if error.http_status in MAY_PASS:
        return VolumeServiceUnavailable(
            f"Keystone: {error}", retry_after=float(getattr(error, "retry_after", 0))
        )
    if error.http_status in (requests.codes.unauthorized, requests.codes.forbidden):
        return VolumeServiceForbids(f"Keystone: {error}")
    return VolumeServiceUnsuitable(f"Keystone: {error}")


def _said_in(response: requests.Response) -> str:
    """Return Cinder's own words, without what looks like a secret: drivers quote what they know."""
    try:
        told = _message(response.json())
    except ValueError:
        told = None
    return str(mask_password(told or response.reason or "no reason"))[:_LONGEST]


def _message(body: Any) -> str | None:  # noqa: ANN401 - whatever JSON there is
    """``{"badRequest": {"code": 400, "message": "…"}}`` is the form of all of them."""
    if not isinstance(body, Mapping):
        return None
    for told in body.values():
        if isinstance(told, Mapping) and isinstance(told.get("message"), str):
            return str(told["message"])
    return None
