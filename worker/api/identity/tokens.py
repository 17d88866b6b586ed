"""Tokens of the API's own, in Keystone's words, so that its clients find the API by a catalogue."""

from datetime import timedelta

from worker.api.asked import Answer, Asked, Json, Refused, Who
from worker.api.identity.discovery import PATH
from worker.api.route import From, Route, Service
from worker.api.schemas.identity import AUTHENTICATE, TOKEN
from worker.api.services import Services

LASTS = timedelta(days=1)
"""After which clients ask again. The token itself lasts as long as it is in the file."""

WRONG = (
    "the token is not one of this API; `blockworker api token add` makes one, and `blockworker api"
    " clouds` prints how to use it"
)

ONLY_TOKENS = (
    "this API knows tokens alone, no passwords; use auth_type v3token with a token of its token"
    " file (`blockworker api clouds` prints a clouds.yaml)"
)

DOMAIN: Json = {"id": "default", "name": "Default"}

REGION = "RegionOne"

SERVICES = (
    ("compute", "nova", "/v2.1"),
    ("block-storage", "cinder", "/v3"),
    ("volumev3", "cinderv3", "/v3"),
    ("image", "glance", "/v2"),
    ("identity", "keystone", PATH),
)
"""Type, name and path of each service that this API plays."""


def authenticate(asked: Asked, services: Services) -> Answer:
    """Take a token for itself: whoever has one learns for whom it stands, and what there is."""
    identity = asked.body["auth"]["identity"]
    if identity["methods"] != ["token"] or "token" not in identity:
        raise _unknown(asked, ONLY_TOKENS)
    token = identity["token"]["id"]
    who = _known(asked, services, token)
    _check_scope(asked, who, asked.body["auth"].get("scope"))
    return Answer(
        status=201,
        body=_told(asked, services, who),
        headers={"X-Subject-Token": token, "Vary": "X-Auth-Token"},
    )


def validate(asked: Asked, services: Services) -> Answer:
    """Tell for whom the token stands that X-Subject-Token has."""
    token = asked.headers.get("x-subject-token", "")
    who = None if services.callers is None else services.callers(token)
    if who is None:
        raise Refused(404, "X-Subject-Token has no token of this API")
    headers = {"X-Subject-Token": token, "Vary": "X-Auth-Token"}
    return Answer(body=_told(asked, services, who), headers=headers)


def _known(asked: Asked, services: Services, token: str) -> Who:
    if services.callers is None:
        raise Refused(404, "the tokens of this API are Keystone's; ask there")
    who = services.callers(token)
    if who is None:
        raise _unknown(asked, WRONG)
    return who


def _unknown(asked: Asked, message: str) -> Refused:
    return Refused(401, message, {"WWW-Authenticate": f'Keystone uri="{asked.base}{PATH}"'})


def _check_scope(asked: Asked, who: Who, scope: Json | str | None) -> None:
    """Raise Refused (401) for any but the token's own project: it has no other."""
    if scope is None or scope == "unscoped":
        return
    wanted = scope.get("project") if isinstance(scope, dict) else None
    named = wanted if isinstance(wanted, dict) else {}
    if who.project_id not in (named.get("id"), named.get("name")):
        raise _unknown(asked, f"the token is for project {who.project_id} and no other scope")


def _told(asked: Asked, services: Services, who: Who) -> Json:
    now = services.clock()
    return {
        "token": {
            "methods": ["token"],
            "issued_at": f"{now:%Y-%m-%dT%H:%M:%S.000000Z}",
            "expires_at": f"{now + LASTS:%Y-%m-%dT%H:%M:%S.000000Z}",
            "user": {"id": who.user_id, "name": who.user_id, "domain": DOMAIN},
            "project": {"id": who.project_id, "name": who.project_id, "domain": DOMAIN},
            "is_domain": False,
            "roles": [{"id": role, "name": role} for role in sorted(who.roles)],
            "audit_ids": [],
            "catalog": [_service(asked.base, *each) for each in SERVICES],
        }
    }


def _service(base: str, type_: str, name: str, path: str) -> Json:
    return {
        "id": type_,
        "type": type_,
        "name": name,
        "endpoints": [
            {
                "id": f"{type_}-{interface}",
                "interface": interface,
                "region": REGION,
                "region_id": REGION,
                "url": f"{base}{path}",
            }
            for interface in ("public", "internal", "admin")
        ],
    }


ROUTES = (
    Route(
        method="POST",
        path=f"{PATH}/auth/tokens",
        act=authenticate,
        does="Use a token of the API as Keystone's clients do",
        rule=None,
        service=Service.IDENTITY,
        body=(From(schema=AUTHENTICATE),),
        answers={201: TOKEN},
    ),
    Route(
        method="GET",
        path=f"{PATH}/auth/tokens",
        act=validate,
        does="Tell for whom a token stands",
        rule="identity:validate_token",
        service=Service.IDENTITY,
        answers={200: TOKEN},
    ),
)
