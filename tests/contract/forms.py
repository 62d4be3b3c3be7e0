"""Reads forms and queries as the values that they stand for."""

import re
import urllib.parse
from typing import Any

_STEP = re.compile(r"\[([^\]]*)\]")


def decoded(text: str) -> dict[str, Any]:
    """Return a form as the values it stands for: `a[b][0]=c` is {"a": {"b": {"0": "c"}}}."""
    root: dict[str, Any] = {}
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        head, _, rest = name.partition("[")
        path = [head, *_STEP.findall(f"[{rest}" if rest else "")]
        at = root
        for step in path[:-1]:
            at = at.setdefault(step, {})
        assert path[-1] not in at, f"{name} stands twice"
        at[path[-1]] = value
    return root
