"""A call's answer, with the operation that it has begun."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.model.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """``answer`` is plain JSON; ``operation``, if any, is in the journal and is to be run."""

    answer: Mapping[str, Any]
    operation: Operation | None = None
