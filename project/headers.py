"""How every answer is sent: the one home of the headers that tell browsers what an answer may do.

What is not listed is an answer for programs, in which nothing may load or run. No copy of an answer is kept, unless its
view says otherwise: what it tells of a payment is old in a second.
"""

from csp.constants import NONE, SELF
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

Policy = dict[str, list[str]]

# An answer for programs, opened in a browser by whoever was lured there, does nothing.
PROGRAM_POLICY: Policy = {"default-src": [NONE], "base-uri": [NONE], "form-action": [NONE], "frame-ancestors": [NONE]}

# No inline script or style, nothing from another host, and nobody may frame a page with a Pay button.
PAGE_POLICY: Policy = {
    "default-src": [SELF],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
    "object-src": [NONE],
}

# The documentation's icons are data in its own style sheet, and it sets styles as it goes.
DOCS_POLICY: Policy = PAGE_POLICY | {"img-src": [SELF, "data:"], "style-src": [SELF, "'unsafe-inline'"]}

# The first beginning that fits counts.
PAGES: tuple[tuple[str, Policy], ...] = (
    ("/api/docs", DOCS_POLICY),
    ("/admin/", PAGE_POLICY),
    ("/shop/", PAGE_POLICY),
    ("/reminders/", PAGE_POLICY),
    ("/payments/return/", PAGE_POLICY),
)

# Beside those that Django's SecurityMiddleware sends. Nothing here asks for any of it, and nothing loaded here may.
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class HeadersMiddleware(CSPMiddleware):
    """Sends each answer with its content policy and the other headers, unless its view has set its own."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add what is missing."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Choose the policy by the path."""
        if report_only:
            return PolicyParts()
        policy = next((policy for prefix, policy in PAGES if request.path_info.startswith(prefix)), PROGRAM_POLICY)
        return PolicyParts(config=dict(policy))
