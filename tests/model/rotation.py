"""Whose turn it is: the part of the reference that knows of stale entries."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Turn:
    """An entry of the rotation; one that is stale is skipped."""

    name: str
    stale: bool = False


@dataclass(slots=True)
class Rotation:
    """The accounts with a free seat, in the order of their turns; of an account's entries, only the last is one."""

    turns: list[Turn] = field(default_factory=list)

    def has_turn(self, name: str) -> bool:
        return any(turn.name == name and not turn.stale for turn in self.turns)

    def join(self, name: str, members: int | None) -> None:
        """It has a turn, at the end if it had none; of how many members, None: as many as there are here."""
        if self.has_turn(name):
            return
        stale = [turn for turn in self.turns if turn.name == name]
        if stale and self._is_long(members):
            stale[-1].stale = False  # or the list would grow for ever
        else:
            self.turns.append(Turn(name))

    def _is_long(self, members: int | None) -> bool:
        if members is None:
            return len(self.turns) >= 2 * len({turn.name for turn in self.turns})
        return sum(turn.stale for turn in self.turns) > members

    def leave(self, name: str) -> None:
        for turn in self.turns:
            turn.stale |= turn.name == name

    def next_account(self) -> str | None:
        while self.turns:
            turn = self.turns.pop(0)
            if not turn.stale:
                return turn.name
        return None

    def put_back(self, name: str) -> None:
        """What was next is next again."""
        self.turns.insert(0, Turn(name))

    def pass_turn(self, name: str, new: str) -> None:
        """The turn passes to the new name; if stale entries of that come later, it is the last of them."""
        turn = next(turn for turn in self.turns if turn.name == name and not turn.stale)
        turn.name, turn.stale = new, True
        [turn for turn in self.turns if turn.name == new][-1].stale = False
