"""What a Cinder and a Keystone answer to which request."""

from tests.contract.cinder_state import CinderState, Json, RefusalError

PROJECT = "0c7a2d5f3b1e4f6f9a8b7c6d5e4f3a2b"

Answer = tuple[int, object]


def route(  # noqa: PLR0911 - a table
    state: CinderState, method: str, path: list[str], query: Json, body: Json, *, service: bool
) -> Answer:
    """Do what the request asks for; return status and answer."""
    match path:
        case ["volumes", "detail"]:
            return 200, {"volumes": _page(list(state.volumes.values()), query, state.page)}
        case ["volumes", volume]:
            return _of_volume(state, method, volume)
        case ["volumes", volume, "encryption"]:
            return 200, state.encryption.get(volume, {"encryption_key_id": None})
        case ["volumes", volume, "action"]:
            [(action, given)] = body.items()
            return 202, state.act(volume, action, given, service=service)
        case ["volumes", volume, "metadata", *keys]:
            return _metadata(state.volume(volume)["metadata"], keys, body)
        case ["attachments"]:
            reserves = method == "POST"
            return 200, state.reserve(body["attachment"]) if reserves else state.listed(query)
        case ["attachments", attachment, *_]:
            return _of_attachment(state, method, attachment, body, service=service)
    raise RefusalError(404, "The resource could not be found.")


def _of_volume(state: CinderState, method: str, volume: str) -> Answer:
    if method == "DELETE":
        state.remove(volume)
        return 202, None
    return 200, {"volume": state.volume(volume)}


def _metadata(kept: Json, keys: list[str], body: Json) -> Answer:
    for key in keys:
        if kept.pop(key, None) is None:
            raise RefusalError(404, "Volume has no metadata with that key.")
    kept.update(body.get("metadata", {}))
    return 200, {"metadata": kept}


def _of_attachment(
    state: CinderState, method: str, attachment: str, body: Json, *, service: bool
) -> Answer:
    match method:
        case "GET":
            return 200, {"attachment": state.attachment(attachment)}
        case "PUT":
            return 200, state.update(attachment, body["attachment"]["connector"])
        case "POST":
            state.complete(attachment)
            return 204, None
    return 200, state.drop(attachment, service=service)


def _page(every: list[Json], query: Json, page: int) -> list[Json]:
    after = [one["id"] for one in every].index(query["marker"]) + 1 if "marker" in query else 0
    return every[after : after + page]


def identity_version(url: str) -> Json:
    """Return what Keystone says of itself."""
    link = {"rel": "self", "href": f"{url}/identity/v3"}
    return {"id": "v3.14", "status": "stable", "links": [link], "media-types": []}


def token_of(url: str, service_type: str, roles: tuple[str, ...]) -> Json:
    """Return what Keystone says of a token: its roles, and where Cinder is."""
    endpoint = {
        "interface": "internal",
        "region": "one",
        "region_id": "one",
        "id": "e",
        "url": f"{url}/volume/v3/{PROJECT}",
    }
    service = {"type": service_type, "name": "cinder", "id": "c", "endpoints": [endpoint]}
    domain = {"id": "d", "name": "Default"}
    return {
        "methods": ["password"],
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "issued_at": "2020-01-01T00:00:00.000000Z",
        "user": {"id": "u", "name": "worker", "domain": domain},
        "project": {"id": PROJECT, "name": "service", "domain": domain},
        "roles": [{"id": role, "name": role} for role in roles],
        "catalog": [service],
    }
