"""The rules of a chain, without a database: what a hash covers, and what a broken link is called."""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.audit import ATTEMPTS
from payments.domain.chain import (
    BrokenLink,
    Fault,
    HeadDigest,
    Link,
    Standing,
    canonical_form,
    first_broken_link,
    head_of,
    link_hash,
    microseconds_since_epoch,
)
from payments.domain.states import TRANSITIONS, AttemptState

OWNER = UUID("0198f0c2-e4b2-7c3a-9d1e-5f60718293a4")


def link(number: int, before: str, after: str, *, previous: Link | None = None, at: int | None = 0) -> Link:
    made = Link(
        owner_id=OWNER,
        number=number,
        from_state=before,
        to_state=after,
        at_microseconds=at,
        actor="worker",
        reason="because",
        evidence='{"a": 1}',
        previous_hash="" if previous is None else previous.entry_hash,
        entry_hash="",
    )
    return replace(made, entry_hash=link_hash(made))


def chain(*states: str) -> list[Link]:
    links: list[Link] = []
    for number, (before, after) in enumerate(zip(("", *states), states, strict=False), start=1):
        links.append(link(number, before, after, previous=links[-1] if links else None, at=number))
    return links


def check(links: list[Link], standing: Standing | None) -> BrokenLink | None:
    return first_broken_link(links, standing=standing, steps=ATTEMPTS.steps)


WHOLE = chain("open", "queued", "charging", "succeeded")
PAID = Standing(state="succeeded", version=4)

texts = st.text(max_size=5)
links = st.builds(
    Link,
    owner_id=st.uuids(),
    number=st.integers(0, 2**31 - 1),
    from_state=texts,
    to_state=texts,
    at_microseconds=st.none() | st.integers(-(2**62), 2**62),
    actor=texts,
    reason=texts,
    evidence=texts,
    previous_hash=texts,
    entry_hash=texts,
)


def test_the_canonical_form_is_what_it_is() -> None:
    """An auditor can make it with any tool: lengths in characters, colons, commas, UTF-8."""
    made = Link(OWNER, 2, "open", "queued", -1, "customer:7", "", '{"é": "😀"}', "ab", "")
    expected = f'36:{OWNER},1:2,4:open,6:queued,2:-1,10:customer:7,0:,10:{{"é": "😀"}},2:ab,'
    assert canonical_form(made) == expected.encode()
    assert link_hash(made) == hashlib.sha256(expected.encode()).hexdigest()


@given(links)
def test_every_part_can_be_read_back_from_the_canonical_form(made: Link) -> None:
    text, parts = canonical_form(made).decode(), []
    while text:
        length, _, rest = text.partition(":")
        parts.append(rest[: int(length)])
        assert rest[int(length)] == ","
        text = rest[int(length) + 1 :]
    values = [getattr(made, field.name) for field in fields(made) if field.name != "entry_hash"]
    assert parts == ["" if value is None else str(value) for value in values]


@given(links, links)
def test_two_entries_share_a_hash_only_if_they_say_the_same(one: Link, other: Link) -> None:
    assert (link_hash(one) == link_hash(other)) == (replace(one, entry_hash="") == replace(other, entry_hash=""))


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_microseconds_are_exact_and_do_not_depend_on_the_zone(at: datetime) -> None:
    count = microseconds_since_epoch(at)
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count) == at
    assert microseconds_since_epoch(at.astimezone(timezone(timedelta(hours=1))) if 2 < at.year < 9999 else at) == count


def test_a_whole_history_has_no_broken_link() -> None:
    assert check(WHOLE, PAID) is None


@pytest.mark.parametrize("state", [state for state in AttemptState if not TRANSITIONS[state]])
def test_a_history_that_begins_at_its_end_is_no_history(state: AttemptState) -> None:
    broken = check(chain(state.value), Standing(state=state.value, version=1))
    assert broken == BrokenLink(1, Fault.TRANSITION, "open", state.value)


def first_with_a_predecessor(links: list[Link]) -> list[Link]:
    first = replace(links[0], previous_hash="ab")
    return [replace(first, entry_hash=link_hash(first)), *links[1:]]


def second_gone(links: list[Link]) -> list[Link]:
    return [links[0], *links[2:]]


def second_twice(links: list[Link]) -> list[Link]:
    return [links[0], links[1], links[1], *links[2:]]


def two_swapped(links: list[Link]) -> list[Link]:
    return [links[0], replace(links[2], number=2), replace(links[1], number=3), links[3]]


def second_changed(links: list[Link]) -> list[Link]:
    return [links[0], replace(links[1], evidence='{"a": 2}'), *links[2:]]


def second_changed_and_hashed_anew(links: list[Link]) -> list[Link]:
    changed = replace(links[1], evidence='{"a": 2}')
    return [links[0], replace(changed, entry_hash=link_hash(changed)), *links[2:]]


def second_jumps(_: list[Link]) -> list[Link]:
    return chain("open", "in_doubt", "succeeded")


def third_starts_elsewhere(links: list[Link]) -> list[Link]:
    return [*links[:2], link(3, "charging", "succeeded", previous=links[1]), links[3]]


@pytest.mark.parametrize(
    ("tamper", "number", "fault", "expected", "found"),
    [
        (first_with_a_predecessor, 1, Fault.PREVIOUS_HASH, "nothing", "ab"),
        (second_gone, 2, Fault.NUMBER, "2", "3"),
        (second_twice, 3, Fault.NUMBER, "3", "2"),
        (two_swapped, 2, Fault.PREVIOUS_HASH, WHOLE[0].entry_hash, WHOLE[1].entry_hash),
        (second_changed, 2, Fault.ENTRY_HASH, link_hash(second_changed(WHOLE)[1]), WHOLE[1].entry_hash),
        (
            second_changed_and_hashed_anew,
            3,
            Fault.PREVIOUS_HASH,
            link_hash(second_changed(WHOLE)[1]),
            WHOLE[1].entry_hash,
        ),
        (second_jumps, 2, Fault.TRANSITION, "cancelled or expired or queued", "in_doubt"),
        (third_starts_elsewhere, 3, Fault.FROM_STATE, "queued", "charging"),
    ],
)
def test_the_first_broken_link_is_named(
    tamper: Callable[[list[Link]], list[Link]], number: int, fault: Fault, expected: str, found: str
) -> None:
    assert check(tamper(WHOLE), PAID) == BrokenLink(number, fault, expected, found)


@pytest.mark.parametrize(
    ("links", "standing", "broken"),
    [
        ([], PAID, BrokenLink(1, Fault.NUMBER, "1", "nothing")),
        (WHOLE[:3], PAID, BrokenLink(4, Fault.NUMBER, "4", "nothing")),
        (WHOLE[:1], PAID, BrokenLink(2, Fault.NUMBER, "2", "nothing")),
        (WHOLE, Standing(state="charging", version=3), BrokenLink(4, Fault.VERSION, "4", "3")),
        (WHOLE, Standing(state="failed", version=4), BrokenLink(4, Fault.STATE, "succeeded", "failed")),
        (WHOLE, None, BrokenLink(4, Fault.OWNER, str(OWNER), "nothing")),
    ],
)
def test_a_history_must_end_where_its_row_stands(
    links: list[Link], standing: Standing | None, broken: BrokenLink
) -> None:
    assert check(links, standing) == broken


def test_a_time_that_goes_back_breaks_nothing() -> None:
    """Clocks may be set back; the numbers and hashes say what came first."""
    first = link(1, "", "open", at=100)
    assert check([first, link(2, "open", "queued", previous=first, at=99)], Standing(state="queued", version=2)) is None


def test_a_head_is_the_last_entry_or_the_last_until_an_instant() -> None:
    assert head_of(WHOLE) == WHOLE[3].entry_hash
    assert head_of(WHOLE, until_microseconds=3) == WHOLE[2].entry_hash
    assert head_of(WHOLE, until_microseconds=0) is None
    assert head_of([]) is None
    assert head_of([*WHOLE, link(5, "", "open", at=None)], until_microseconds=4) == WHOLE[3].entry_hash


def test_a_digest_of_heads_covers_owners_heads_and_their_order() -> None:
    def digest(*heads: tuple[UUID, str]) -> str:
        made = HeadDigest()
        for owner_id, head in heads:
            made.add(owner_id=owner_id, head=head)
        return made.hexdigest()

    one, other = (OWNER, "ab"), (UUID(int=1), "cd")
    tried = [(), (one,), (other,), (one, other), (other, one), ((OWNER, "cd"), (UUID(int=1), "ab"))]
    assert len({digest(*heads) for heads in tried}) == len(tried)
    assert digest(one) == hashlib.sha256(f"36:{OWNER},2:ab,".encode()).hexdigest()
