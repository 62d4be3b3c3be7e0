"""How mail leaves: from EMAIL_URL, or onto the terminal while there is none."""

from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from project.settings import environment

# smtp://user:password@host:587 is plain, smtp+tls:// begins plainly and turns to TLS, smtps:// is TLS from the start.
EMAIL_URL = environment.text("EMAIL_URL", "")
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}

try:
    _parts = urlsplit(EMAIL_URL)
    _port = _parts.port
except ValueError:  # It may hold a password: it is not repeated.
    _message = "EMAIL_URL is no URL: it must look like smtp+tls://user:password@host:587"
    raise ImproperlyConfigured(_message) from None
if EMAIL_URL and (_parts.scheme not in _PORTS or not _parts.hostname):
    _message = f"EMAIL_URL must begin with one of {', '.join(f'{scheme}://' for scheme in _PORTS)} and name a host"
    raise ImproperlyConfigured(_message)

EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_URL else 'console'}.EmailBackend"
EMAIL_HOST = _parts.hostname or "localhost"
EMAIL_PORT = _port or _PORTS.get(_parts.scheme, 25)
EMAIL_HOST_USER = unquote(_parts.username or "")
EMAIL_HOST_PASSWORD = unquote(_parts.password or "")
EMAIL_USE_TLS = _parts.scheme == "smtp+tls"
EMAIL_USE_SSL = _parts.scheme == "smtps"

# One wait for the mail server: for the connection, and for each of its answers. A server that does not greet in 5 s has
# more to do than it can; what it refuses later is sent later.
EMAIL_TIMEOUT = environment.integer("EMAIL_TIMEOUT", 5)

DEFAULT_FROM_EMAIL = environment.text("DEFAULT_FROM_EMAIL", "Paywindow <payments@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL  # Of mails to ADMINS.
