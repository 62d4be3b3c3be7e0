"""Is everybody's money right? Asked of the gateway's books and of the rows, and of nothing that the system says.

Each rule names what is wrong, with ids. A verdict is found when all has come to rest; what has not is itself wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from tests.crash.facts import Facts, Row

Problems = Iterator[str]

ENDED = {"succeeded", "failed", "expired", "cancelled"}
MAY_TAKE_MONEY = {"authorize", "charge"}

# Spelled a second time, from the documents.
ATTEMPT_WAYS = {
    "": {"open"},
    "open": {"queued", "expired", "cancelled"},
    "queued": {"charging", "expired", "cancelled"},
    "charging": {"succeeded", "failed", "confirming", "in_doubt", "expired", "queued"},
    "confirming": {"succeeded", "failed", "expired", "in_doubt"},
    "in_doubt": {"succeeded", "failed", "expired", "confirming", "needs_review"},
    "needs_review": {"succeeded", "failed"},
}
COMPENSATION_WAYS = {
    "": {"owed", "done"},
    "owed": {"calling"},
    "calling": {"done", "owed", "in_doubt", "needs_review"},
    "in_doubt": {"calling", "done", "needs_review"},
    "needs_review": {"owed", "done"},
}


def find_problems(facts: Facts) -> list[str]:
    """Apply every rule."""
    return [problem for rule in RULES for problem in rule(facts)]


def assert_clean(facts: Facts) -> None:
    problems = find_problems(facts)
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)


def by(rows: Iterable[Row], *names: str) -> dict[Any, list[Row]]:
    """Group rows by one column, or by several."""
    grouped: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[tuple(row[name] for name in names) if len(names) > 1 else row[names[0]]].append(row)
    return grouped


def net_of_operations(facts: Facts) -> Counter[str]:
    """Sum what moved, by charge: what was taken less what was given back."""
    net: Counter[str] = Counter()
    for moved in facts.operations:
        sign = {"charge": 1, "capture": 1, "refund": -1}.get(moved["operation"], 0)
        net[moved["charge_id"]] += sign * moved["amount_minor"]
    return net


# The money.


def charges_agree_with_what_moved(facts: Facts) -> Problems:
    net = net_of_operations(facts)
    for charge in facts.charges:
        standing = charge["amount_captured_minor"] - charge["amount_refunded_minor"]
        if standing != net[charge["id"]]:
            yield f"charge {charge['id']} has {standing}, and its operations add up to {net[charge['id']]}"


def charges_belong_to_attempts(facts: Facts) -> Problems:
    known = {attempt["public_id"] for attempt in facts.attempts}
    for charge in facts.charges:
        if charge["reference"] not in known:
            yield f"charge {charge['id']} was made for {charge['reference']}, which does not exist"


def orders_are_paid_once_or_not_at_all(facts: Facts) -> Problems:
    attempts, charges, net = by(facts.attempts, "order_id"), by(facts.charges, "reference"), net_of_operations(facts)
    for order in facts.orders:
        made = [charge for attempt in attempts[order["id"]] for charge in charges[attempt["public_id"]]]
        paying = [charge["id"] for charge in made if net[charge["id"]] > 0]
        total = sum(net[charge["id"]] for charge in made)
        if len(paying) > 1:
            yield f"order {order['order_id']} is paid {len(paying)} times: {paying}"
        if total > order["total_minor"]:
            yield f"order {order['order_id']} costs {order['total_minor']}, and {total} was taken"
        if any(attempt["state"] == "needs_review" for attempt in attempts[order["id"]]):
            continue  # What a person has to find out may be there or not.
        due = _price_kept(order, facts)
        if total != due:
            yield f"order {order['order_id']} is {order['status']}: {due} should be with us, {total} is"


def _price_kept(order: Row, facts: Facts) -> int:
    """What of an order's price must be with us: all of a paid one, less what was refunded of its own charge."""
    if order["status"] != "paid":
        return 0
    succeeded = [a for a in facts.attempts if a["order_id"] == order["id"] and a["state"] == "succeeded"]
    references = {attempt["gateway_reference"] for attempt in succeeded}
    refunded = sum(
        row["amount_minor"]
        for row in facts.compensations
        if row["order_id"] == order["id"] and row["charge_reference"] in references and _is_refunded(row)
    )
    return int(order["total_minor"] - refunded)


def _is_refunded(compensation: Row) -> bool:
    return bool(compensation["kind"] == "refund" and compensation["state"] == "done")


def paid_orders_have_one_success_with_its_charge(facts: Facts) -> Problems:
    attempts = by(facts.attempts, "order_id")
    charges = {charge["id"]: charge for charge in facts.charges}
    for order in facts.orders:
        succeeded = [attempt for attempt in attempts[order["id"]] if attempt["state"] == "succeeded"]
        if len(succeeded) != (order["status"] == "paid"):
            yield f"order {order['order_id']} is {order['status']} with {len(succeeded)} successes"
        for attempt in succeeded:
            charge = charges.get(attempt["gateway_reference"])
            if charge is None or charge["reference"] != attempt["public_id"]:
                yield f"attempt {attempt['public_id']} succeeded with {attempt['gateway_reference']!r}, not its charge"
            elif charge["amount_captured_minor"] != attempt["amount_minor"]:
                yield f"attempt {attempt['public_id']} succeeded, and {charge['id']} was not captured whole"


def attempts_that_ended_leave_nothing_open(facts: Facts) -> Problems:
    charges = by(facts.charges, "reference")
    for attempt in facts.attempts:
        for charge in charges[attempt["public_id"]] if attempt["state"] in ENDED else []:
            if charge["status"] in {"authorized", "pending"}:
                yield f"attempt {attempt['public_id']} is {attempt['state']}, and {charge['id']} is {charge['status']}"


# The calls.


def calls_that_may_take_money_began_in_time(facts: Facts) -> Problems:
    attempts = {attempt["id"]: attempt for attempt in facts.attempts}
    for call in facts.calls:
        attempt = attempts[call["attempt_id"]]
        if call["operation"] in MAY_TAKE_MONEY and call["started_at"] >= attempt["expires_at"]:
            late = call["started_at"] - attempt["expires_at"]
            yield f"attempt {attempt['public_id']} began {call['operation']} {late} after its deadline"


def attempts_have_one_key_and_one_request(facts: Facts) -> Problems:
    calls, requests = by(facts.calls, "attempt_id"), by(facts.requests, "reference")
    for attempt in facts.attempts:
        begun = [call for call in calls[attempt["id"]] if call["operation"] in MAY_TAKE_MONEY]
        arrived = [request for request in requests[attempt["public_id"]] if request["operation"] in MAY_TAKE_MONEY]
        if len({(call["idempotency_key"], call["request_hash"]) for call in begun}) > 1:
            yield f"attempt {attempt['public_id']} has several keys or requests in its calls"
        if len({(request["idempotency_key"], request["body_hash"]) for request in arrived}) > 1:
            yield f"attempt {attempt['public_id']} came to the gateway with several keys or bodies"


def nothing_arrived_that_was_not_written_down(facts: Facts) -> Problems:
    written = by(facts.calls, "idempotency_key", "operation")
    moves_money = MAY_TAKE_MONEY | {"capture", "void", "refund"}
    arrived = [request for request in facts.requests if request["operation"] in moves_money]
    for (key, operation), requests in by(arrived, "idempotency_key", "operation").items():
        if len(requests) > len(written[key, operation]):
            count = len(written[key, operation])
            yield f"{operation} with key {key} arrived {len(requests)} times and was written down {count} times"


# The rows.


def everything_has_come_to_rest(facts: Facts) -> Problems:
    called = {call["attempt_id"] for call in facts.calls}
    for attempt in facts.attempts:
        # One that was never submitted may be open, within its window.
        is_open = attempt["state"] == "open" and attempt["id"] not in called
        swept_at = attempt["expires_at"] + timedelta(seconds=10)
        if attempt["state"] not in ENDED | {"needs_review"} and not (is_open and facts.now < swept_at):
            yield f"attempt {attempt['public_id']} is still {attempt['state']}"
    for row in facts.compensations:
        if row["state"] not in {"done", "needs_review"}:
            yield f"compensation {row['public_id']} is still {row['state']}"


def stock_adds_up(facts: Facts) -> Problems:
    reservations, lines = by(facts.reservations, "item_id"), by(facts.lines, "item_id")
    paid = {order["id"] for order in facts.orders if order["status"] == "paid"}
    for item in facts.items:
        sku, of_item = item["sku"], reservations[item["id"]]
        if item["on_hand"] + item["sold"] != item["received"]:
            yield f"item {sku}: {item['on_hand']} on hand and {item['sold']} sold are not {item['received']} received"
        active = sum(row["quantity"] for row in of_item if row["state"] == "active")
        if item["reserved"] != active:
            yield f"item {sku}: {item['reserved']} reserved, {active} in active reservations"
        bought = sum(line["quantity"] for line in lines[item["id"]] if line["order_id"] in paid)
        if item["sold"] != bought:
            yield f"item {sku}: {item['sold']} sold, {bought} in paid orders"
        taken = sum(row["quantity"] for row in of_item if row["state"] == "consumed")
        if taken != bought:
            yield f"item {sku}: {taken} in consumed reservations, {bought} in paid orders"


def reservations_end_with_their_orders(facts: Facts) -> Problems:
    fitting = {"under_paying": "active", "paid": "consumed", "cancelled": "released"}
    orders = {order["id"]: order for order in facts.orders}
    for row in facts.reservations:
        order = orders[row["order_id"]]
        if row["state"] != fitting[order["status"]]:
            yield f"order {order['order_id']} is {order['status']}, and its line {row['line_id']} is {row['state']}"


def histories_are_whole(facts: Facts) -> Problems:
    history = by(facts.history, "attempt_id")
    for attempt in facts.attempts:
        for problem in _wrong_with(history[attempt["id"]], row=attempt, ways=ATTEMPT_WAYS):
            yield f"attempt {attempt['public_id']}: {problem}"
    history = by(facts.compensation_history, "compensation_id")
    for row in facts.compensations:
        for problem in _wrong_with(history[row["id"]], row=row, ways=COMPENSATION_WAYS):
            yield f"compensation {row['public_id']}: {problem}"


def _wrong_with(entries: list[Row], *, row: Row, ways: dict[str, set[str]]) -> Problems:
    if [entry["number"] for entry in entries] != list(range(1, row["version"] + 1)):
        yield f"version {row['version']}, and its history has {[entry['number'] for entry in entries]}"
    stood = ""
    for entry in entries:
        step = f"{entry['number']}. from {entry['from_state'] or 'nothing'} to {entry['to_state']}"
        if entry["from_state"] != stood:
            yield f"{step}, when it was {stood or 'nothing'}"
        if entry["to_state"] not in ways.get(entry["from_state"], set()):
            yield f"{step} is no way"
        stood = entry["to_state"]
    if stood != row["state"]:
        yield f"it is {row['state']}, and its history ends with {stood or 'nothing'}"
    times = [entry["at"] for entry in entries]
    if times != sorted(times):
        yield "its history goes back in time"


Rule = Callable[[Facts], Problems]
RULES: tuple[Rule, ...] = (
    charges_agree_with_what_moved,
    charges_belong_to_attempts,
    orders_are_paid_once_or_not_at_all,
    paid_orders_have_one_success_with_its_charge,
    attempts_that_ended_leave_nothing_open,
    calls_that_may_take_money_began_in_time,
    attempts_have_one_key_and_one_request,
    nothing_arrived_that_was_not_written_down,
    everything_has_come_to_rest,
    stock_adds_up,
    reservations_end_with_their_orders,
    histories_are_whole,
)
