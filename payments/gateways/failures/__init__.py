"""What each gateway's own codes mean in the vocabulary of all gateways: a table for each, as data, checked when read.

A code that no table knows is a plain decline that is never retried blindly, and somebody is told: an error in the log,
under one name for all gateways, so that one alert finds them all.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import structlog

from payments.domain.failures import FailureCode

log = structlog.get_logger(__name__)

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class FailureTable:
    """The codes of one gateway, as it spells them."""

    gateway: str
    source: str  # Where the gateway publishes them.
    codes: Mapping[str, FailureCode]

    def meaning(self, gateway_code: str) -> FailureCode:
        """Translate a code; one that is not in the table is `declined`, and alerted."""
        code = self.codes.get(gateway_code)
        if code is None:
            log.error("unknown_gateway_code", gateway=self.gateway, gateway_code=gateway_code)
            return FailureCode.DECLINED
        return code


def load(gateway: str) -> FailureTable:
    """Read the table `<gateway>.toml`: `source`, and under [codes] lists of the gateway's codes by what they mean.

    :raises ValueError: for a table with an unknown meaning, a code that stands twice, or without a source.
    """
    path = _FOLDER / f"{gateway}.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    source, lists = content.get("source"), content.get("codes")
    if content.keys() != {"source", "codes"} or not isinstance(source, str) or not isinstance(lists, dict):
        message = f"{path.name} has to have a source and [codes], and nothing else"
        raise ValueError(message)
    codes: dict[str, FailureCode] = {}
    for meaning, spelled in lists.items():
        if meaning not in set(FailureCode):
            message = f"{path.name} gives the meaning {meaning!r}; known are {', '.join(FailureCode)}"
            raise ValueError(message)
        for code in spelled:
            if not isinstance(code, str) or not code or code in codes:
                message = f"{path.name} has the code {code!r} twice, or it is no code"
                raise ValueError(message)
            codes[code] = FailureCode(meaning)
    return FailureTable(gateway=gateway, source=source, codes=MappingProxyType(codes))
