"""Which servers a list has: filters, pages, and the builds that have no row yet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from worker.api.asked import Asked, Json, Refused
from worker.api.compute.access import may_see
from worker.api.compute.server_words import doing_of
from worker.api.compute.standing import Standing, rowless
from worker.api.paging import last
from worker.api.schemas.servers import FILTERS, IGNORED, NOVAS
from worker.api.services import Services
from worker.api.words import is_true
from worker.model.ids import InstanceId, is_uuid
from worker.model.instance import Instance
from worker.persistence.fleet import Doing, Wanted

_ALL_TENANTS = "os_compute_api:servers:{}:get_all_tenants"
_ALL_FILTERS = "os_compute_api:servers:allow_all_filters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some servers, newest first; there are ``more`` after the last of them."""

    standings: Sequence[Standing]
    more: bool


def page_of(asked: Asked, services: Services, *, what: str) -> Page:
    """Return the page that is asked for; ``what`` is the list, as policies name it.

    Builds that have no row yet come first, for they are the newest. Raises Refused (400, 403).
    """
    _check_filters(asked)
    wanted = _wanted(asked, services, what)
    if wanted is None:
        return Page(standings=(), more=False)
    marker, since = _marker(asked, services)
    found = _building(wanted, services, since) if marker is None else []
    rest = replace(wanted, after=marker, limit=wanted.limit + 1 - len(found))
    if rest.limit > 0:
        found += [Standing(server=each) for each in services.fleet.servers(rest)]
    return Page(standings=found[: wanted.limit], more=len(found) > wanted.limit)


def next_link(page: Page, asked: Asked, path: str) -> Json:
    """Return the link to what follows the page, if anything does."""
    if not page.more or not page.standings:
        return {}
    marker = {"marker": [page.standings[-1].instance.uuid]}
    query = urlencode(dict(asked.query) | marker, doseq=True)
    return {"servers_links": [{"rel": "next", "href": f"{asked.base}{path}?{query}"}]}


def _wanted(asked: Asked, services: Services, what: str) -> Wanted | None:
    """Return None where nothing can be as it is asked for."""
    query = asked.query
    statuses = [doing_of(each) for each in query.get("status", ())]
    doing = [each for each in statuses if each is not None]
    if statuses and not doing:
        return None
    name = last(asked, "name") or ""
    limit = int(last(asked, "limit") or services.limits.page)
    return Wanted(
        project=_project(asked, services, what),
        limit=min(limit, services.limits.page),
        host=_host(asked, services),
        states=tuple(query.get("vm_state", ())),
        doing=doing,
        name=name.removeprefix("^").removesuffix("$") or None,
        begins=name.startswith("^"),
        ends=name.endswith("$"),
    )


def _check_filters(asked: Asked) -> None:
    """A filter that is not looked at would show servers that were not asked for."""
    for name in sorted(set(asked.query) & NOVAS - FILTERS - IGNORED):
        if any(each not in ("", "False", "false", "0") for each in asked.query[name]):
            message = f"servers are not found by {name} here; use any of: {', '.join(_OURS)}"
            raise Refused(400, message)
    if last(asked, "sort_key") not in (None, "created_at"):
        raise Refused(400, "servers are listed by sort_key=created_at alone")
    if last(asked, "sort_dir") not in (None, "desc"):
        raise Refused(400, "servers are listed newest first: sort_dir=desc")


_OURS = sorted(FILTERS - {"sort_key", "sort_dir"})


def _project(asked: Asked, services: Services, what: str) -> str | None:
    everything = _is_asked_for(last(asked, "all_tenants"))
    if not everything:
        if asked.who.project_id is None:
            raise Refused(400, "the token is of no project; ask with all_tenants=1, or in one")
        return asked.who.project_id
    services.policy.check(_ALL_TENANTS.format(what), asked.who, asked.who.owner)
    return last(asked, "project_id") or last(asked, "tenant_id")


def _host(asked: Asked, services: Services) -> str | None:
    host = last(asked, "host")
    if host is not None:
        services.policy.check(_ALL_FILTERS, asked.who, asked.who.owner)
    return host


def _marker(asked: Asked, services: Services) -> tuple[InstanceId | None, datetime | None]:
    """Return the row that a page follows, or when the build was accepted that it follows."""
    marker = last(asked, "marker")
    if marker is None:
        return None, None
    id_ = InstanceId(marker)
    server = services.fleet.server(id_) if is_uuid(marker) else None
    if server is not None and may_see(asked, server):
        return id_, None
    told = services.fleet.build_of(id_) if is_uuid(marker) else None
    if told is None or not may_see(asked, rowless(told).server):
        raise Refused(400, f"marker [{marker}] not found")
    return None, told.operation.accepted_at


def _building(wanted: Wanted, services: Services, since: datetime | None) -> list[Standing]:
    found = []
    for told in services.fleet.builds():
        standing, accepted = rowless(told), told.operation.accepted_at
        later = since is not None and accepted is not None and accepted >= since
        if not later and _is_wanted(standing.instance, wanted):
            found.append(standing)
    return found


def _is_wanted(instance: Instance, wanted: Wanted) -> bool:
    """Tell of a build what the database tells of rows."""
    if wanted.project is not None and instance.project_id != wanted.project:
        return False
    if wanted.host is not None and instance.host != wanted.host:
        return False
    if wanted.states and instance.vm_state not in wanted.states:
        return False
    if wanted.doing and not any(_is_at(instance, each) for each in wanted.doing):
        return False
    return _is_named(instance.name, wanted)


def _is_at(instance: Instance, doing: Doing) -> bool:
    return instance.vm_state == doing.state and not doing.tasks


def _is_named(name: str, wanted: Wanted) -> bool:
    if wanted.name is None:
        return True
    if wanted.begins and wanted.ends:
        return name == wanted.name
    if wanted.begins:
        return name.startswith(wanted.name)
    return name.endswith(wanted.name) if wanted.ends else wanted.name in name


def _is_asked_for(value: str | None) -> bool:
    """As Nova reads it: the bare word asks for it."""
    if value is None:
        return False
    word = value.strip().lower()
    if not word or is_true(word):
        return True
    if word in ("0", "f", "false", "off", "n", "no"):
        return False
    raise Refused(400, f"all_tenants={value}: 1 or 0 is meant")
