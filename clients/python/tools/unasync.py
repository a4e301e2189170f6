"""Makes the client for threads of the one for asyncio: the same lines without the words that wait.

Writes `src/agentruntime/client.py`; with `--check` only says whether that would change it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "agentruntime"

RULES = [
    (
        "The client for asyncio. `client`, for threads, is made of this file by `tools/unasync.py`.",
        "The client for threads. Made of `aio` by `tools/unasync.py`: change that one.",
    ),
    # The stubs' own types are those for threads.
    (r"if TYPE_CHECKING:\n(?:    from \.v1\.\w+ import \w+AsyncStub\n)+\n", ""),
    (r"TYPE_CHECKING, ", ""),
    (r"async (def|for|with) ", r"\1 "),
    (r"\bawait ", ""),
    (r"AsyncGenerator\[([\w.]+), None\]", r"Generator[\1, None, None]"),
    (r"Async(Generator|Iterator)", r"\1"),
    (r"Awaitable\[(\w+)\]", r"\1"),
    (r"Awaitable, ", ""),
    (r"AsyncStub", "Stub"),
    (r"__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"from \._aio import", "from ._sync import"),
]


def main() -> int:
    """Writes or checks."""
    text = (PACKAGE / "aio.py").read_text(encoding="utf-8")
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    target = PACKAGE / "client.py"
    if "--check" in sys.argv:
        return int(target.read_text(encoding="utf-8") != text)
    target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
