"""Chain the history: each entry gets the hash of the one before it and its own, and a trigger that computes both.

Entries from before are chained here, in order, by the same canonical form. An entry that no chain from an opening
reaches keeps no hash, and the constraint at the end refuses to go on.
"""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

_CHAIN_WHAT_IS_THERE = """
    CREATE FUNCTION pg_temp.history_hash(entry payments_historyentry, before text) RETURNS text LANGUAGE sql AS $$
        SELECT encode(sha256(convert_to(string_agg(length(part) || ':' || part || ',', '' ORDER BY place), 'UTF8')), 'hex')
        FROM unnest(ARRAY[
            entry.attempt_id::text, entry.number::text, entry.from_state, entry.to_state,
            (extract(epoch FROM entry.at) * 1000000)::bigint::text, entry.actor, entry.reason, entry.evidence::text, before
        ]) WITH ORDINALITY AS parts (part, place)
    $$;

    ALTER TABLE payments_historyentry DISABLE TRIGGER pgtrigger_history_append_only_0bc5b;

    WITH RECURSIVE chained AS (
        SELECT id, attempt_id, number, '' AS previous_hash, pg_temp.history_hash(entry, '') AS entry_hash
        FROM payments_historyentry entry WHERE number = 1
        UNION ALL
        SELECT entry.id, entry.attempt_id, entry.number, chained.entry_hash, pg_temp.history_hash(entry, chained.entry_hash)
        FROM chained JOIN payments_historyentry entry
            ON entry.attempt_id = chained.attempt_id AND entry.number = chained.number + 1
    )
    UPDATE payments_historyentry entry
    SET previous_hash = chained.previous_hash, entry_hash = chained.entry_hash
    FROM chained WHERE entry.id = chained.id;

    ALTER TABLE payments_historyentry ENABLE TRIGGER pgtrigger_history_append_only_0bc5b;

    DROP FUNCTION pg_temp.history_hash(payments_historyentry, text);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0002_version_refers_to_history'),
    ]

    operations = [
        migrations.AddField(
            model_name='historyentry',
            name='entry_hash',
            field=models.CharField(db_default='', editable=False, help_text='SHA-256 over this entry and the hash before it.', max_length=64),
        ),
        migrations.AddField(
            model_name='historyentry',
            name='previous_hash',
            field=models.CharField(db_default='', editable=False, help_text='The hash of the entry before; empty for the opening.', max_length=64),
        ),
        migrations.RunSQL(sql=_CHAIN_WHAT_IS_THERE, reverse_sql=migrations.RunSQL.noop),
        pgtrigger.migrations.AddTrigger(
            model_name='historyentry',
            trigger=pgtrigger.compiler.Trigger(name='history_chained', sql=pgtrigger.compiler.UpsertTriggerSql(declare="DECLARE predecessor RECORD; named TEXT[] := ARRAY[NEW.previous_hash, NEW.entry_hash]; part TEXT; content TEXT := '';", func='\n    IF NEW.number = 1 THEN\n        NEW.previous_hash = \'\';\n    ELSE\n        SELECT to_state, entry_hash INTO predecessor FROM payments_historyentry\n        WHERE attempt_id = NEW.attempt_id AND number = NEW.number - 1;\n        IF NOT FOUND THEN\n            RAISE EXCEPTION \'entry % of % has no predecessor\', NEW.number, NEW.attempt_id;\n        END IF;\n        IF predecessor.to_state IS DISTINCT FROM NEW.from_state THEN\n            RAISE EXCEPTION \'entry % of % starts at "%", but its predecessor ended in "%"\',\n                NEW.number, NEW.attempt_id, NEW.from_state, predecessor.to_state;\n        END IF;\n        NEW.previous_hash = predecessor.entry_hash;\n    END IF;\n    FOREACH part IN ARRAY ARRAY[\n        NEW.attempt_id::text,\n        NEW.number::text,\n        NEW.from_state,\n        NEW.to_state,\n        (extract(epoch FROM NEW.at) * 1000000)::bigint::text,\n        NEW.actor,\n        NEW.reason,\n        NEW.evidence::text,\n        NEW.previous_hash\n    ] LOOP\n        content = content || length(part) || \':\' || part || \',\';\n    END LOOP;\n    NEW.entry_hash = encode(sha256(convert_to(content, \'UTF8\')), \'hex\');\n    IF named[1] NOT IN (\'\', NEW.previous_hash) OR named[2] NOT IN (\'\', NEW.entry_hash) THEN\n        RAISE EXCEPTION \'entry % of % names hashes that are not its own\', NEW.number, NEW.attempt_id;\n    END IF;\n    RETURN NEW;\n', hash='d2921310f36fdcc72763a21c621e0e61b56f27d2', operation='INSERT', pgid='pgtrigger_history_chained_1437a', table='payments_historyentry', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='historyentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('entry_hash', ''), _negated=True), models.Q(models.Q(('number', 1), ('previous_hash', '')), models.Q(('number__gt', 1), models.Q(('previous_hash', ''), _negated=True)), _connector='OR')), name='history_hashed'),
        ),
    ]
