"""The hosted payment page: what a customer sees when the gateway, not the shop, asks for the money.

One form, no script. The page works without the shop's credentials, as such pages do: who knows the charge's
id, which cannot be guessed, may pay.
"""

import html
import urllib.parse

from aiohttp import web

from payments.gateways.sandbox.engine import Engine
from payments.gateways.sandbox.records import Cause, Charge, Refused, Settlement, Status

_STYLE = """
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:#f4f5f7;color:#1c2330;
  font:16px/1.5 system-ui,sans-serif;padding:1rem}
main{width:100%;max-width:24rem;background:#fff;border-radius:12px;padding:1.75rem;
  box-shadow:0 4px 24px rgba(20,30,50,.1)}
h1{font-size:1.1rem;margin:0 0 .25rem;overflow-wrap:anywhere}
.amount{font-size:2rem;font-weight:650;margin:.25rem 0 1rem}
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:0 0 1.5rem;font-size:.9rem}
dt{color:#5b6577}
dd{margin:0;text-align:right;overflow-wrap:anywhere}
button{width:100%;min-height:2.9rem;margin-top:.6rem;border-radius:8px;border:1px solid #c9cfd9;
  background:#fff;color:inherit;font:inherit;cursor:pointer}
button.pay{background:#1f5eff;border-color:#1f5eff;color:#fff;font-weight:600}
button:focus-visible,a:focus-visible{outline:3px solid #9db8ff;outline-offset:2px}
.note{font-size:.8rem;color:#5b6577;margin:1.25rem 0 0}
"""
# No `form-action`: the answer to the form redirects to the shop, and browsers hold that against it too.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_ENDINGS = {
    Status.APPROVED: "This payment is approved. The shop completes it.",
    Status.CAPTURED: "This payment is complete.",
    Status.AUTHORIZED: "This payment is authorized.",
    Status.REFUNDED: "This payment was refunded.",
    Status.DECLINED: "This payment was declined.",
    Status.VOIDED: "This payment was cancelled.",
    Status.EXPIRED: "This payment page has expired. Nothing was charged.",
}
_CHOICES = frozenset({Settlement.PAY, Settlement.DECLINE, Settlement.CANCEL})
_EXPONENTS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "BHD": 3, "KWD": 3, "TND": 3, "JOD": 3, "OMR": 3}


class HostedPage:
    """The routes under /pay."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        """Return what the page answers to."""
        return [web.get("/pay/{charge_id}", self._show), web.post("/pay/{charge_id}", self._submit)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        charge = self._engine.look_up(request.match_info["charge_id"])
        if charge is None:
            return _page("Not found", "<h1>There is no such payment.</h1>", status=404)
        if charge.status is not Status.PENDING:
            return _ended(charge, status=200)
        return _page("Payment", _form(charge), status=200)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        charge_id = request.match_info["charge_id"]
        form = await request.post()
        choice = form.get("action")
        if choice not in _CHOICES:
            return _page("Payment", "<h1>Choose Pay, Decline or Cancel.</h1>", status=400)
        outcome = self._engine.settle(charge_id, Settlement(choice), cause=Cause.HOSTED_PAGE)
        charge = self._engine.look_up(charge_id)
        if charge is None:
            return _page("Not found", "<h1>There is no such payment.</h1>", status=404)
        if isinstance(outcome, Refused):
            return _ended(charge, status=409)
        if charge.return_url is None:
            return _ended(charge, status=200)
        raise web.HTTPSeeOther(return_address(charge, return_url=charge.return_url))


def return_address(charge: Charge, *, return_url: str) -> str:
    """Return the shop's address with `charge` and `status` added to whatever query it had."""
    parts = urllib.parse.urlsplit(return_url)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    query += [("charge", charge.id), ("status", str(charge.status))]
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))


def show_amount(amount_minor: int, currency: str) -> str:
    """Return an amount in minor units as people read it, such as `12.50 USD`."""
    exponent = _EXPONENTS.get(currency, 2)
    whole, rest = divmod(amount_minor, 10**exponent)
    return f"{whole:,}.{rest:0{exponent}d} {currency}" if exponent else f"{whole:,} {currency}"


def _form(charge: Charge) -> str:
    deadline = "" if charge.expires_at is None else f"<dt>Valid until</dt><dd>{charge.expires_at[:19]} UTC</dd>"
    return (
        f"<h1>Pay for {html.escape(charge.reference)}</h1>"
        f'<p class="amount">{html.escape(show_amount(charge.amount_minor, charge.currency))}</p>'
        f"<dl><dt>Payment</dt><dd>{html.escape(charge.id)}</dd>{deadline}</dl>"
        '<form method="post">'
        '<button class="pay" name="action" value="pay">Pay</button>'
        '<button name="action" value="decline">Decline</button>'
        '<button name="action" value="cancel">Cancel</button></form>'
        '<p class="note">A sandbox: no real money moves.</p>'
    )


def _ended(charge: Charge, *, status: int) -> web.Response:
    back = ""
    if charge.return_url is not None:
        address = html.escape(return_address(charge, return_url=charge.return_url))
        back = f'<p><a href="{address}">Back to the shop</a></p>'
    text = _ENDINGS.get(charge.status, "This payment is pending.")
    return _page("Payment", f"<h1>{text}</h1>{back}", status=status)


def _page(title: str, content: str, *, status: int) -> web.Response:
    text = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )
    return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)
