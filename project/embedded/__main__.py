"""`python -m project.embedded status|stop|clean`, and the watcher, which runs this folder by its path."""

import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> None:
    """Run `status`, `stop`, `clean`, or the watcher."""
    if not __package__:
        sys.path[0] = str(HERE.parent)
    package = __package__ or HERE.name
    watcher = import_module(f"{package}.watcher")
    match arguments:
        case ["watch", home, watcher_lock]:
            watcher.watch(Path(home), int(watcher_lock))
        case ["status" | "stop" | "clean" as command]:
            watcher.administer(command, import_module(package).home_of(HERE.parents[1]))
        case _:
            sys.exit("usage: python -m project.embedded status|stop|clean")


if __name__ == "__main__":
    main(sys.argv[1:])
