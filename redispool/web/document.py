"""What the page is told, as data for JSON: names, owners, times and figures; no token and no credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redispool.web.history import SPAN, STEP, History

if TYPE_CHECKING:
    from redispool.watch import PoolView, Watch

_MOST_LEASES, _MOST_WAITERS, _MOST_OUT = 500, 200, 200  # rows of a pool; the figures count them all
_MOST_HOLDINGS = 12_000  # of all pools, for a page that has just been opened


class Documents:
    """Makes what the page is told of what a watch sees.

    Args:
        watch: that looks, with the events of the last hour.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._histories: dict[str, History] = {}
        self._views: dict[str, PoolView] = {}
        self._new: set[str] = set()  # pools that no page has been told of

    def look(self) -> None:
        """Look once more; `watch.trouble` says why, where that fails."""
        self._watch.look()
        before, self._views = self._views, {view.status.name: view for view in self._watch.pools}
        self._new = set()
        for name, view in self._views.items():
            if view is before.get(name):
                continue  # not seen anew, as there is trouble
            if view.rate is None:  # the watch sees it for the first time
                self._histories[name] = History()
                self._new.add(name)
            self._histories[name].take(view)
        self._histories = {name: self._histories[name] for name in self._views}

    def whole(self) -> dict[str, Any]:
        """All that there is to tell, for a page that has just been opened."""
        return {"span": SPAN, "step": STEP, "pools": [self._pool(view, whole=True) for view in self._views.values()]}

    def news(self) -> dict[str, Any]:
        """The pools as they are, and what has changed in their last hour."""
        return {"pools": [self._pool(view, whole=view.status.name in self._new) for view in self._views.values()]}

    def _pool(self, view: PoolView, *, whole: bool) -> dict[str, Any]:
        status, history = view.status, self._histories[view.status.name]
        figures = ("accounts", "free", "held", "cooling", "to_clean", "quarantined", "waiting")
        by_age = status.leases[:_MOST_LEASES]
        most = _MOST_HOLDINGS // len(self._views)
        return {
            "name": status.name,
            "at": status.at,
            **{name: getattr(status, name) for name in figures},
            "waits": {f"p{percent}": view.percentile(percent) for percent in (50, 95, 99)},
            "leases": [
                [one.fence, one.account, one.owner, one.acquired_at, one.expires_at, one.purpose, one.note]
                for one in by_age
            ],
            "waiters": [
                [one.owner, one.since, one.wants, one.count, one.estimated_wait] for one in view.waiters[:_MOST_WAITERS]
            ],
            "out": [[one.account, one.since, one.by, one.reason] for one in status.quarantine[:_MOST_OUT]],
            "past" if whole else "news": history.whole(most) if whole else history.news(),
        }
