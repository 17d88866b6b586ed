"""A worker on the fakes that does nothing by itself: each piece of work is asked for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tests import fakes
from tests.fakes.world import World
from tests.unit.scenes import AT_ONCE
from worker.execution import Page
from worker.gate import Gate
from worker.model.ids import InstanceId
from worker.model.operation import Operation
from worker.ports import Ports
from worker.rpc.dispatch import Dispatcher
from worker.rpc.methods import OPERATIONS
from worker.rpc.wire import Message
from worker.runner import Runner
from worker.steps import wrap_outside
from worker.wiring.looks import Looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """What happens at one outside call, before or after its effect; it is told the call's name.

    One that is ``lasting`` happens at every later call too; ``others`` says that it is the doing
    of other hands.
    """

    at: int
    late: bool
    lasting: bool = False
    others: bool = False
    happen: Callable[[str], None]


@dataclass
class Plan:
    """A watch that lets mishaps happen, each at its call; calls are counted from 0."""

    mishaps: Sequence[Mishap] = ()
    count: int = 0
    interleaved: bool = False

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Return the watch around one call."""
        return self._around(name)

    @contextmanager
    def _around(self, name: str) -> Iterator[None]:
        here = [
            mishap
            for mishap in self.mishaps
            if mishap.at == self.count or (mishap.lasting and mishap.at < self.count)
        ]
        self.count += 1
        self._let_happen(here, name, late=False)
        yield
        self._let_happen(here, name, late=True)

    def _let_happen(self, here: Sequence[Mishap], name: str, *, late: bool) -> None:
        for mishap in here:
            if mishap.late is late:
                self.interleaved |= mishap.others
                mishap.happen(name)


class Held(ThreadPoolExecutor):
    """A pool without threads: what is submitted waits until it is asked for, by its lane."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.work: dict[str, Callable[[], object]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":  # noqa: ANN401 - as the pool's
        (lane,) = args
        self.work[lane] = partial(fn, lane, **kwargs)
        return Future()


class SteppedRunner(Runner):
    """The runner, on a pool that waits to be asked; nobody waits at its gate, for all is one."""

    def __init__(self, open_page: Callable[[Operation], Page]) -> None:
        super().__init__(OPERATIONS, open_page, threads=1, patience=AT_ONCE)
        self._pool = self.held = Held()
        self._gate = Gate(patience=0.0)


@dataclass
class FakeWorker:
    """Dispatcher, runner and looks as ``wiring`` joins them; ``guard`` sees each outside call."""

    world: World
    guard: Callable[[], None]
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        """Start it."""
        self.start()

    def start(self) -> None:
        """Take up what an earlier worker left, and look at each guest."""
        self.runner = SteppedRunner(self._open_page)
        self.dispatcher = Dispatcher(self._open_call, self.runner.submit)
        self._looks = Looks(self._open_look, self.runner, self.dispatcher)
        self.runner.recover(fakes.ports(self.world).operations.unfinished())
        for instance in self.world.instances:
            self.look(instance)

    def die(self) -> None:
        """Lose all that is not durable, and start again."""
        self.world.crash()
        self.start()

    def call(self, method: str, *, plan: Plan | None = None, **arguments: Any) -> Any:  # noqa: ANN401
        """Make a call of the bus."""
        with self._planned(plan):
            return self.dispatcher.serve(Message(method=method, arguments=arguments))

    def look(self, instance: InstanceId) -> None:
        """Queue a look at the guest."""
        self._looks.enter(instance)

    @property
    def lanes(self) -> list[str]:
        """The lanes with work that may begin."""
        return list(self.runner.held.work)

    def work(self, lane: str, plan: Plan | None = None) -> None:
        """Do the next piece of work of a lane."""
        piece = self.runner.held.work.pop(lane)
        with self._planned(plan):
            piece()

    @contextmanager
    def _planned(self, plan: Plan | None) -> Iterator[None]:
        outer, self.plan = self.plan, plan or Plan()
        try:
            yield
        finally:
            self.plan = outer

    def _open_page(self, operation: Operation) -> Page:
        page = fakes.page(self.world, operation, (self.plan, self._guarded))
        return replace(page, on_end=partial(self._looks.on_end, page.on_end))

    @contextmanager
    def _open_call(self) -> Iterator[Ports]:
        plan = self.plan

        def around(name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as it answers
            with plan(name):
                return call()

        with self._open_look() as ports:
            yield wrap_outside(ports, around)

    @contextmanager
    def _open_look(self) -> Iterator[Ports]:
        try:
            yield fakes.ports(self.world)
        except BaseException:
            self.world.crash()
            raise
        self.world.commit()

    @contextmanager
    def _guarded(self, _name: str) -> Iterator[None]:
        self.guard()
        try:
            yield
        finally:
            self.guard()
