"""Events in the heritage's manner, over blinker's signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blinker import ANY, Signal

if TYPE_CHECKING:
    from collections.abc import Callable


class Event:
    """A signal in the heritage's manner: connect callbacks, then call it with the account."""

    def __init__(self) -> None:
        self._signal = Signal()
        self._extra: dict[Any, tuple[tuple[Any, ...], dict[str, Any]]] = {}  # of who is called with more than that

    def connect(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `callback(account, *args, **kwargs)` at each emission, until it is disconnected."""
        self._add(callback, args, kwargs, weak=False)

    def listen(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Like `connect`, but holds the callback weakly: when it is gone, so is the connection."""
        self._add(callback, args, kwargs, weak=True)

    def _add(self, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, weak: bool) -> None:
        if args or kwargs:
            self._extra[_identity(callback)] = args, kwargs
        else:
            self._extra.pop(_identity(callback), None)  # of another one, long gone, that had the same identity
        self._signal.connect(callback, weak=weak)

    def disconnect(self, callback: Callable[..., Any]) -> None:
        """Call `callback` no more."""
        for known in self._callbacks():
            if known == callback:  # equal is enough: a method is a new object each time it is looked up
                self._signal.disconnect(known)

    def disconnect_all(self) -> None:
        """Call nobody any more."""
        for known in self._callbacks():
            self._signal.disconnect(known)

    def is_connected(self, callback: Callable[..., Any]) -> bool:
        """Whether `callback` is called at an emission."""
        return callback in self._callbacks()

    def n_subscribers(self) -> int:
        """How many callbacks there are."""
        return len(self._callbacks())

    def _callbacks(self) -> list[Callable[..., Any]]:
        return list(self._signal.receivers_for(ANY))

    def emit(self, sender: Any) -> None:
        """Call every connected callback."""
        if not self._extra:
            self._signal.send(sender)
            return
        for callback in self._callbacks():
            args, kwargs = self._extra.get(_identity(callback), ((), {}))
            callback(sender, *args, **kwargs)

    __call__ = emit


def _identity(callback: Callable[..., Any]) -> tuple[int, int]:
    return id(getattr(callback, "__func__", callback)), id(getattr(callback, "__self__", None))


class Events:
    """The events of one account in this process: its member object and its handles share them."""

    def __init__(self) -> None:
        self.acquired = Event()
        self.released = Event()
        self.changed = Event()
