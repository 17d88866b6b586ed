"""What the worker names itself is in the table of methods, as an operation."""

import pytest

from worker.model.method import Method
from worker.rpc.methods import OPERATIONS


@pytest.mark.parametrize("method", list(Method))
def test_each_named_operation_is_one(method: Method) -> None:
    assert method in OPERATIONS
