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

    def connect(self, callback: Callable[..., Any]) -> None:
        """Call `callback(account)` at each emission, until it is disconnected."""
        self._signal.connect(callback, weak=False)

    def listen(self, callback: Callable[..., Any]) -> None:
        """Like `connect`, but holds the callback weakly: when it is gone, so is the connection."""
        self._signal.connect(callback, weak=True)

    def disconnect(self, callback: Callable[..., Any]) -> None:
        """Call `callback` no more."""
        for known in list(self._signal.receivers_for(ANY)):
            if known == callback:  # equal is enough: a method is a new object each time it is looked up
                self._signal.disconnect(known)

    def emit(self, sender: Any) -> None:
        """Call every connected callback."""
        self._signal.send(sender)

    __call__ = emit


class Events:
    """The events of one account in this process: its member object and its handles share them."""

    def __init__(self) -> None:
        self.acquired = Event()
        self.released = Event()
        self.changed = Event()
