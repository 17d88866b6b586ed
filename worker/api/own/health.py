"""``/healthcheck``: whether this API can answer; nobody needs a token for it."""

from worker.api.asked import Answer, Asked, Json
from worker.api.route import From, Route, Service
from worker.api.schemas import health as schemas
from worker.api.services import Services

NOBODY = "no worker is seen; operations are refused until one is started"


def check(asked: Asked, services: Services) -> Answer:
    """Say whether database and broker answer, and how many workers there are.

    What is wrong with a part is not said here, but in the log: anybody may ask. No worker at all
    is no fault of this API's, and no other would do better.
    """
    parts = services.health.seen()
    ok = all(part.ok for part in parts.values())
    workers = parts["database"].facts.get("workers")
    body: Json = {"status": "ok" if ok else "unavailable", "workers": workers}
    body["reasons"] = [f"{name} does not answer" for name, part in parts.items() if not part.ok]
    if workers == 0:
        body["reasons"].append(NOBODY)
    if "detailed" in asked.query:
        body["parts"] = {
            name: {"ok": part.ok, "milliseconds": part.public()["milliseconds"]}
            for name, part in parts.items()
        }
        body["streams"] = {"open": services.streams.open_streams, "most": services.streams.most}
    return Answer(status=200 if ok else 503, body=body)


def workers(_asked: Asked, services: Services) -> Answer:
    """List the workers that are there, with how many instances each has."""
    seen = [
        {"host": each.name, "until": each.until.isoformat(), "instances": each.instances}
        for each in services.fleet.living(services.clock())
    ]
    return Answer(body={"workers": seen})


ROUTES = (
    Route(
        method="GET",
        path="/healthcheck",
        act=check,
        does="Say whether the API can answer",
        rule=None,
        service=Service.OWN,
        query=(From(schema=schemas.DETAILED),),
        answers={200: schemas.HEALTH, 503: schemas.HEALTH},
    ),
    Route(
        method="GET",
        path="/workers",
        act=workers,
        does="List the workers that are there",
        rule="blockworker:workers:list",
        service=Service.OWN,
        answers={200: schemas.WORKERS},
    ),
)
