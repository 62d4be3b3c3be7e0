"""`manage.py write_openapi`: what the API says of itself, as a file that a change shows up in."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from payments.api.urls import api

FILE = Path("docs") / "openapi.json"


class Command(BaseCommand):
    help = f"Write the API's OpenAPI document to {FILE}."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; fail if the file is not as it would be."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        path = Path(settings.BASE_DIR) / FILE
        text = json.dumps(api.get_openapi_schema(), indent=2, ensure_ascii=False) + "\n"
        if not options["check"]:
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {FILE}.")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            message = f"{FILE} is not what the API says of itself; write it with `manage.py write_openapi`."
            raise CommandError(message)
