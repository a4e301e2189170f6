"""What can be hung up on: a client, and each of its streams. It knows what to end, not how anything waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import Error


class Line:
    """Until somebody hangs up. With threads that may be any of them."""

    def __init__(self) -> None:
        self.is_over = False
        # Adding to a set, and copying it, are each one step for other threads.
        self._ends: set[Callable[[], object]] = set()

    def hang_up(self) -> None:
        """Ends what goes on, and lets nothing more begin."""
        self.is_over = True
        for end in self._ends.copy():
            end()

    def check(self) -> None:
        """Raises an `Error` if somebody hung up."""
        if self.is_over:
            raise Error.of_hanging_up()

    @contextmanager
    def ends(self, end: Callable[[], object]) -> Iterator[None]:
        """Meanwhile, hanging up does this."""
        self._ends.add(end)
        try:
            # Only now: who hangs up after this finds it.
            if self.is_over:
                end()
            yield
        finally:
            self._ends.discard(end)
