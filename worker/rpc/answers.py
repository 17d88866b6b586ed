"""The form of every answer: ``{"result": …}``, or ``{"error": {"code", "message", "family"}}``.

An error that crossed the bus as an exception would carry a class name and a traceback, and could
be understood by Python alone.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from worker.errors import Conflict, Invalid, LeftBehind, NotFound, Unavailable, WorkerError
from worker.model.operation import fault_of

LOG = logging.getLogger(__name__)

FAMILIES: Mapping[str, type[WorkerError]] = {
    "invalid": Invalid,
    "not_found": NotFound,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "left_behind": LeftBehind,
    "internal": WorkerError,
}
"""What the caller does next, by name; the last takes what fits no other."""


def answer_of(work: Callable[[], Any]) -> dict[str, Any]:
    """Do the work and return its answer; never raises."""
    try:
        return {"result": work()}
    except WorkerError as error:
        return _refusal(error)
    except Exception as error:
        LOG.exception("call crashed")
        return _refusal(error)


def result_of(answer: object) -> Any:  # noqa: ANN401 - whatever the method answers
    """Return the result, or raise the error that the answer tells of."""
    if not isinstance(answer, Mapping) or not {"result", "error"} & set(answer):
        raise WorkerError("the answer has neither result nor error")
    told = answer.get("error")
    if told is None:
        return answer["result"]
    raise error_from(told)


def error_from(told: Mapping[str, Any]) -> WorkerError:
    """Return the error as one of ours: its class by code, else by family with its code kept."""
    code, message = str(told.get("code")), str(told.get("message"))
    known = _by_code().get(code)
    if known is not None:
        return known(message)
    family = FAMILIES.get(str(told.get("family")), WorkerError)
    kind: type[WorkerError] = type(family.__name__, (family,), {"code": code})
    return kind(message)


def _refusal(error: Exception) -> dict[str, Any]:
    fault = fault_of(error)
    family = next(name for name, kind in FAMILIES.items() if _fits(error, kind))
    return {"error": {"code": fault.code, "message": fault.message, "family": family}}


def _fits(error: Exception, family: type[WorkerError]) -> bool:
    return isinstance(error, family) or family is WorkerError


def _by_code() -> dict[str, type[WorkerError]]:
    return {kind.code: kind for kind in _kinds(WorkerError) if kind.__module__ == "worker.errors"}


def _kinds(kind: type[WorkerError]) -> Iterator[type[WorkerError]]:
    yield kind
    for lesser in kind.__subclasses__():
        yield from _kinds(lesser)
