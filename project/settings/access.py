"""Who may ask the API, and how often."""

from project.settings import environment

# The one algorithm that tokens are verified with, never read from a token's own header. HS256, whose key also signs, is
# for development; EdDSA and RS256 verify with the public keys of an identity service.
JWT_ALGORITHM = environment.text("JWT_ALGORITHM", "HS256")

# Where those keys are, as a JWKS: one of the two.
JWT_JWKS_FILE = environment.text("JWT_JWKS_FILE", "")
JWT_JWKS_URL = environment.text("JWT_JWKS_URL", "")

JWT_ISSUER = environment.text("JWT_ISSUER", "paywindow")
JWT_AUDIENCE = environment.text("JWT_AUDIENCE", "paywindow-api")

# How far the issuer's clock and ours may be apart: two that time servers set differ by less than a second. As long as
# this a token that has expired still counts, so `check` refuses more than a minute.
JWT_LEEWAY_SECONDS = environment.integer("JWT_LEEWAY_SECONDS", 5)

# One fetch of the JWKS in all. It is a small static file, and a request waits for it.
JWT_JWKS_FETCH_SECONDS = 3

# How long fetched keys are used before they are fetched again: so long after it was withdrawn a key may still count.
JWT_JWKS_REFRESH_SECONDS = 300

# How long nothing is fetched after a fetch, however it ended, so that tokens with made-up key names cannot make us ask
# the identity service all the time. So long a new key may be unknown that was used before it was published.
JWT_JWKS_PAUSE_SECONDS = 10

# How often a user may do each thing, and about one payment or order ("subject"); "number/period", and whatever is left
# out has no limit. They protect capacity, so they stay far above what people do: two tabs that look every second need
# 120 a minute, a nervous customer clicks Pay a hundred times. Redis alone counts; while it is away nothing is limited.
PAYMENT_RATE_LIMITS: dict[str, dict[str, str]] = {
    # Holds stock, so the least: a customer who fills a cart and places it every second for a minute.
    "place": {"user": "60/minute"},
    # The gate answers a double click in a millisecond; a program that goes on for more than that is broken.
    "submit": {"user": "600/minute", "subject": "300/minute"},
    # An order has three attempts.
    "retry": {"user": "120/minute", "subject": "60/minute"},
    "cancel": {"user": "120/minute", "subject": "60/minute"},
    # May have work done for one order.
    "check": {"user": "600/minute", "subject": "300/minute"},
    # One row by its key. Five tabs, twice a second each.
    "status": {"user": "1200/minute", "subject": "600/minute"},
    # Staff, and the scripts that they write.
    "operate": {"user": "600/minute"},
}
