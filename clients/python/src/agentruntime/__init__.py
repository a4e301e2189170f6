"""Client of agent-runtime: runs coding agents in sandboxes and streams what they do.

`connect` gives a client for threads, `aio.connect` the same one for asyncio. `pb` has the messages of the contract.
"""

from . import aio, pb
from ._words import words
from .client import Client, Stream, connect
from .errors import Error, FieldViolation
from .state import State

__all__ = ["Client", "Error", "FieldViolation", "State", "Stream", "aio", "connect", "pb", "words"]
