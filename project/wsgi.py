"""What the web server loads."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.base")

application = get_wsgi_application()

from payments import clockwatch  # noqa: E402 - once the applications are loaded
from payments.checks import refuse_to_start  # noqa: E402 - the same

refuse_to_start()
clockwatch.start()
