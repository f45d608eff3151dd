"""How the demo looks: a live picture on a terminal, plain lines elsewhere, and the summary for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from typing import Self

    from rich.console import RenderableType

    from redispool.cli.demo.scene import Comeback, Happening, Kill, Outcome, Plan, Scene, WorkerState

_LINES = 5  # happenings in view
_WIDTH = 80  # wider is not better to read
_DOING = {
    "starting": ("starts", "dim"),
    "waiting": ("waits in line", "yellow"),
    "leased": ("takes", "cyan"),
    "working": ("uses", "green"),
    "lingering": ("uses", "green"),
    "refused": ("refused", "bold red"),
    "failed": ("failed", "bold red"),
    "killed": ("killed", "bold red"),
    "gone": ("gone", "dim"),
}


class View(Protocol):
    """What shows the scene while the demo goes on; for use in a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def show(self, scene: Scene) -> None:
        """Show the scene as it is now."""


def view_for(console: Console) -> View:
    """The view that suits where the console writes to."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)


class LiveView:
    """A picture that is drawn anew for every scene, and is gone at the end: the summary follows."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._width = min(console.width, _WIDTH)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        """Draw the scene."""
        picture = Group(
            heading(scene.plan), Text(), _accounts(scene, self._width), Text(), _workers(scene), Text(),
            *(_line(happening) for happening in scene.happenings[-_LINES:]), _clock(scene),
        )  # fmt: skip
        self._live.update(picture, refresh=True)


class PlainView:
    """A line for each happening, and one a second that says who has what."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def show(self, scene: Scene) -> None:
        """Tell what is new."""
        if not self._told:
            self._console.print(heading(scene.plan), "")
        for happening in scene.happenings[self._told :]:
            self._console.print(_line(happening))
        self._told = len(scene.happenings)
        if scene.leases and scene.elapsed >= self._next:
            self._next = scene.elapsed + 1.0
            held = ", ".join(f"{name} {_holder(scene, name)}" for name in scene.accounts)
            self._console.print(f"{scene.elapsed:5.1f} s  {held}; {_in_line(scene)} wait")


def heading(plan: Plan) -> RenderableType:
    """What is being played."""
    title = f"  {plan.workers} workers share {plan.accounts} account{'s' * (plan.accounts > 1)}"
    return Group(
        Text.assemble(("redispool demo", "bold"), title),
        Text(f"on {plan.shown_server}", "dim"),
        Text("Each logs in to a service that refuses an account which is in use already.", "dim"),
    )


def _holder(scene: Scene, account: str) -> str:
    lease = scene.leases.get(account)
    if lease is None:
        return "free"
    dead = scene.kill is not None and scene.kill.fence == lease.fence
    return f"{lease.owner} (dead)" if dead else lease.owner


def _in_line(scene: Scene) -> int:
    return sum(worker.doing == "waiting" for worker in scene.workers.values())


def _accounts(scene: Scene, width: int) -> RenderableType:
    table = Table(width=width, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("Account", ratio=2)
    table.add_column("Held by", ratio=3)
    table.add_column("Fence", justify="right", ratio=1)
    table.add_column("Lease ends in", ratio=4)
    table.add_column("Handed out", justify="right")
    for name in scene.accounts:
        lease = scene.leases.get(name)
        handed_out = str(scene.handed_out.get(name, 0))
        if lease is None:
            table.add_row(name, Text("free", "dim"), "", "", handed_out)
            continue
        dead = scene.kill is not None and scene.kill.fence == lease.fence
        style = "bold red" if dead else "green"
        left = max(lease.expires_at - lease.acquired_at - lease.age, 0.0)
        table.add_row(
            name,
            Text(_holder(scene, name), style),
            str(lease.fence),
            _remaining(left, scene.plan.ttl, style),
            handed_out,
        )
    return table


def _remaining(left: float, ttl: float, style: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    bar = ProgressBar(ttl, left, width=12, complete_style=style, finished_style=style)
    grid.add_row(Text(f"{left:.1f} s"), bar)
    return grid


def _workers(scene: Scene) -> RenderableType:
    """The workers in two columns, counted downwards."""
    workers = list(scene.workers.values())
    half = (len(workers) + 1) // 2
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for gap in (8, 0):
        table.add_column("Worker", width=9)
        table.add_column("Does", width=16, no_wrap=True)
        table.add_column("Logins" + " " * gap, width=6 + gap)
    for row in range(half):
        cells = _worker(workers[row])
        if row + half < len(workers):
            cells += _worker(workers[row + half])
        table.add_row(*cells)
    return table


def _worker(worker: WorkerState) -> list[RenderableType]:
    what, style = _DOING[worker.doing]
    account = "" if worker.doing == "killed" else worker.account
    return [worker.name, Text(f"{what} {account}".rstrip(), style), f"{worker.logins:6}"]


def _clock(scene: Scene) -> Text:
    return Text(f"{scene.elapsed:5.1f} s  of {scene.plan.seconds:.0f} s; Ctrl-C ends it", "dim")


def _line(happening: Happening) -> Text:
    return Text.assemble((f"{happening.at:5.1f} s  ", "dim"), (happening.text, happening.style))


def summary(outcome: Outcome) -> RenderableType:
    """What it came to."""
    problems = outcome.problems()
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row(
        "Logins", f"{sum(outcome.logins.values())} in {outcome.seconds:.0f} s, by {outcome.plan.workers} workers"
    )
    grid.add_row("By account", _shares(outcome))
    grid.add_row(
        "Refused", str(outcome.refusals) if outcome.refusals else "0: no account was ever in use twice at once"
    )
    if outcome.kill is not None:
        kill = outcome.kill
        grid.add_row("Killed", f"{kill.worker}, while it used {kill.account}; its lease had {kill.left:.1f} s to run")
        grid.add_row("Back", _comeback(kill, outcome.comeback))
    grid.add_row("Left over", ", ".join(outcome.not_free) or "nothing: every account was given back")
    for problem in problems:
        grid.add_row(Text("Problem", "bold red"), Text(problem, "red"))
    return Panel(
        grid,
        title=Text("It did not work", "bold red") if problems else Text("It works", "bold green"),
        title_align="left",
        border_style="red" if problems else "green",
        width=_WIDTH,
    )


def _shares(outcome: Outcome) -> str:
    shares = ", ".join(f"{name}: {count}" for name, count in sorted(outcome.logins.items()))
    if outcome.kill is None or outcome.comeback is None:
        return shares
    return f"{shares} ({outcome.kill.account} out for {outcome.comeback.at - outcome.kill.at:.1f} s)"


def _comeback(kill: Kill, comeback: Comeback | None) -> str:
    if comeback is None:
        return f"{kill.account} never came back"
    return f"{kill.account}, {comeback.at - kill.at:.1f} s after the kill, with {comeback.worker}"
