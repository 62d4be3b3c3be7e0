"""A progress bar for commands that run long, for a person at a terminal and nobody else."""

from django.core.management.base import OutputWrapper

_CELLS = 40
_ERASE_LINE = "\r\x1b[K"


class Progress:
    """One line on a terminal, redrawn when it changes; nothing where `stream` is no terminal."""

    def __init__(self, stream: OutputWrapper, *, total: int) -> None:
        self._stream = stream if stream.isatty() else None
        self._total = max(1, total)
        self._done = 0
        self._line = ""

    def advance(self) -> None:
        """Count one more of what is done."""
        self._done += 1
        share = min(1.0, self._done / self._total)  # More may be added while it runs.
        line = f"[{'#' * int(share * _CELLS):<{_CELLS}}] {share:4.0%}"
        if line != self._line:
            self._line = line
            self._write(f"\r{line}")

    def erase(self) -> None:
        """Take the line away, before something else is printed and at the end."""
        if self._line:
            self._line = ""
            self._write(_ERASE_LINE)

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text, style_func=str, ending="")
            self._stream.flush()
