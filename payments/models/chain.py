"""What every chained history shares: its columns, its constraints, and the trigger that chains it.

The sweep writes history for a thousand attempts in one statement, so the hash is the database's to compute: whoever
inserts, from whatever code or console, says nothing of hashes and gets a chained entry. `payments/domain/chain.py`
computes the same again, to verify.
"""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.models.kept import kept_unless_archived


class ChainedEntry(models.Model):
    """One transition of an owner. A subclass adds the foreign key, and names it to the two functions below.

    The owner has an `id` (a UUID), a `state`, and a `version` that is the number of its latest entry.
    """

    number = models.PositiveIntegerField(help_text="1 for the opening.")
    from_state = models.CharField(max_length=16, blank=True, help_text="Empty for the opening.")
    to_state = models.CharField(max_length=16)
    at = models.DateTimeField(help_text="Database time, read after the lock was granted.")
    actor = models.CharField(max_length=64, help_text="Such as customer:7, worker, sweep.")
    reason = models.CharField(max_length=64)
    evidence = models.JSONField(default=dict)
    # Database defaults, so that an insert leaves both to the trigger and reads back what it made of them.
    previous_hash = models.CharField(
        max_length=64, db_default="", editable=False, help_text="The hash of the entry before; empty for the opening."
    )
    entry_hash = models.CharField(
        max_length=64, db_default="", editable=False, help_text="SHA-256 over this entry and the hash before it."
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.number}. {self.to_state}"


def chain_constraints(*, name: str, owner: str) -> list[models.BaseConstraint]:
    """Give the constraints of a chained table; `owner` is the foreign key, `name` begins their names."""
    return [
        models.UniqueConstraint(name=f"{name}_numbered_per_{owner}", fields=[owner, "number"]),
        models.CheckConstraint(
            name=f"{name}_starts_with_the_opening",
            condition=Q(number=1, from_state="") | (Q(number__gt=1) & ~Q(from_state="")),
        ),
        # A session that switches the trigger off does not get an entry without hashes in.
        models.CheckConstraint(
            name=f"{name}_hashed",
            condition=~Q(entry_hash="") & (Q(number=1, previous_hash="") | (Q(number__gt=1) & ~Q(previous_hash=""))),
        ),
    ]


def every_transition_counts(*, name: str) -> pgtrigger.Trigger:
    """Give the trigger of an owner's table that makes every change of its state count its version up by one."""
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        condition=pgtrigger.AnyChange("state"),
        func="""
                    IF NEW.version <> OLD.version + 1 THEN
                        RAISE EXCEPTION 'a transition counts the version up from % by one', OLD.version;
                    END IF;
                    RETURN NEW;
                """,
    )


def chain_triggers(*, name: str, owner: str, table: str) -> list[pgtrigger.Trigger]:
    """Give the triggers of a chained table; `owner` is the foreign key, `name` begins their names.

    An entry whose predecessor is missing, or ended in another state, is refused. Hashes are computed whatever the
    insert says; an insert that names others is refused, so that a forged row is not given a true hash.
    """
    return [
        kept_unless_archived(name=f"{name}_append_only", table=table, forbids="update or delete"),
        pgtrigger.Trigger(
            name=f"{name}_chained",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert,
            declare=[
                ("predecessor", "RECORD"),
                ("named", "TEXT[] := ARRAY[NEW.previous_hash, NEW.entry_hash]"),
                ("part", "TEXT"),
                ("content", "TEXT := ''"),
            ],
            func=pgtrigger.Func(  # type: ignore[no-untyped-call] # django-pgtrigger leaves it untyped
                _CHAIN_SQL.replace("{owner}", f"{{columns.{owner}}}")
            ),
        ),
    ]


# The canonical form of payments/domain/chain.py: each part as its length in characters, a colon, the part, a comma.
_CHAIN_SQL = """
    IF NEW.number = 1 THEN
        NEW.previous_hash = '';
    ELSE
        SELECT to_state, entry_hash INTO predecessor FROM {meta.db_table}
        WHERE {owner} = NEW.{owner} AND number = NEW.number - 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'entry % of % has no predecessor', NEW.number, NEW.{owner};
        END IF;
        IF predecessor.to_state IS DISTINCT FROM NEW.from_state THEN
            RAISE EXCEPTION 'entry % of % starts at "%", but its predecessor ended in "%"',
                NEW.number, NEW.{owner}, NEW.from_state, predecessor.to_state;
        END IF;
        NEW.previous_hash = predecessor.entry_hash;
    END IF;
    FOREACH part IN ARRAY ARRAY[
        NEW.{owner}::text,
        NEW.number::text,
        NEW.from_state,
        NEW.to_state,
        (extract(epoch FROM NEW.at) * 1000000)::bigint::text,
        NEW.actor,
        NEW.reason,
        NEW.evidence::text,
        NEW.previous_hash
    ] LOOP
        content = content || length(part) || ':' || part || ',';
    END LOOP;
    NEW.entry_hash = encode(sha256(convert_to(content, 'UTF8')), 'hex');
    IF named[1] NOT IN ('', NEW.previous_hash) OR named[2] NOT IN ('', NEW.entry_hash) THEN
        RAISE EXCEPTION 'entry % of % names hashes that are not its own', NEW.number, NEW.{owner};
    END IF;
    RETURN NEW;
"""
