"""Policies of payment methods and the record of their changes; grace and late allowance stamped on every attempt.

Attempts from before get what the settings say of their method now: it is what has been held against them until now.
"""

import json

import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

_STAMP = """
    UPDATE payments_paymentattempt SET
        grace_seconds = coalesce((%(graces)s::jsonb ->> method)::int, %(grace)s),
        late_allowance_seconds = coalesce((%(allowances)s::jsonb ->> method)::int, %(allowance)s)
"""


def _stamp_what_is_there(apps, schema_editor):
    def own(key):
        return json.dumps({name: options.get(key) for name, options in settings.PAYMENT_METHODS.items()})

    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_STAMP, {
            'graces': own('grace_seconds'),
            'grace': settings.PAYMENT_GRACE_SECONDS,
            'allowances': own('late_allowance_seconds'),
            'allowance': settings.PAYMENT_LATE_ALLOWANCE_SECONDS,
        })


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0008_expiry_failures'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='PaymentMethodPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('method', models.CharField(help_text='As PAYMENT_METHODS has it. Set once.', max_length=32, unique=True)),
                ('window_minutes', models.PositiveIntegerField(blank=True, help_text='How long a customer has, from opening the attempt: 5 minutes to 24 hours.', null=True)),
                ('grace_seconds', models.PositiveIntegerField(blank=True, help_text='After the window: how long what was authorised inside it may still be captured. 0 to 300 s.', null=True)),
                ('late_allowance_seconds', models.PositiveIntegerField(blank=True, help_text='After the grace: how long money that is only now seen may still pay its order.', null=True)),
                ('reminder_lead_minutes', models.PositiveIntegerField(blank=True, help_text='How long before the deadline a reminder goes out. 0: none does.', null=True)),
            ],
            options={
                'verbose_name_plural': 'payment method policies',
            },
        ),
        migrations.CreateModel(
            name='PolicyChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('method', models.CharField(max_length=32)),
                ('at', models.DateTimeField(help_text='Database time.')),
                ('actor', models.CharField(help_text='Such as staff:7; database: and a name when nobody said who.', max_length=64)),
                ('database_user', models.CharField(help_text='Whose session it was, as the database knows it.', max_length=64)),
                ('old', models.JSONField(help_text='The values before; empty when there was no policy.', null=True)),
                ('new', models.JSONField(help_text='The values from then on; empty when the policy was removed.', null=True)),
            ],
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='paymentattempt',
            name='attempt_facts',
        ),
        migrations.AddField(
            model_name='paymentattempt',
            name='grace_seconds',
            field=models.PositiveSmallIntegerField(default=0, help_text='After the window: what was authorised inside it may still be captured. Set once.'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='paymentattempt',
            name='late_allowance_seconds',
            field=models.PositiveIntegerField(default=0, help_text='After the grace: money that is only now seen may still pay the order. Set once.'),
            preserve_default=False,
        ),
        migrations.RunPython(_stamp_what_is_there, migrations.RunPython.noop),
        pgtrigger.migrations.AddTrigger(
            model_name='paymentattempt',
            trigger=pgtrigger.compiler.Trigger(name='attempt_facts', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."order_id" IS DISTINCT FROM (NEW."order_id") OR OLD."customer_id" IS DISTINCT FROM (NEW."customer_id") OR OLD."number" IS DISTINCT FROM (NEW."number") OR OLD."method" IS DISTINCT FROM (NEW."method") OR OLD."gateway" IS DISTINCT FROM (NEW."gateway") OR OLD."amount_minor" IS DISTINCT FROM (NEW."amount_minor") OR OLD."currency" IS DISTINCT FROM (NEW."currency") OR OLD."opened_at" IS DISTINCT FROM (NEW."opened_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."grace_seconds" IS DISTINCT FROM (NEW."grace_seconds") OR OLD."late_allowance_seconds" IS DISTINCT FROM (NEW."late_allowance_seconds") OR OLD."opened_stamp" IS DISTINCT FROM (NEW."opened_stamp"))', func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;", hash='51049f01b481bac18a62dd0ddfbad2377e632f8d', operation='UPDATE', pgid='pgtrigger_attempt_facts_7320a', table='payments_paymentattempt', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.CheckConstraint(condition=models.Q(('grace_seconds__lte', 300)), name='attempt_grace_at_most_5_minutes'),
        ),
        migrations.AddConstraint(
            model_name='paymentmethodpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('method', ''), _negated=True), name='policy_method_not_empty'),
        ),
        migrations.AddConstraint(
            model_name='paymentmethodpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('window_minutes__isnull', True), ('window_minutes__gt', 0), _connector='OR'), name='policy_window_positive', violation_error_message='A window has at least a minute.'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='paymentmethodpolicy',
            trigger=pgtrigger.compiler.Trigger(name='policy_facts', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."method" IS DISTINCT FROM (NEW."method"))', func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;", hash='301eda48ef74a28f9bd3ec1148d87150ea5d27bd', operation='UPDATE', pgid='pgtrigger_policy_facts_c2d7f', table='payments_paymentmethodpolicy', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='paymentmethodpolicy',
            trigger=pgtrigger.compiler.Trigger(name='policy_recorded', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n    IF TG_OP = 'UPDATE' AND OLD IS NOT DISTINCT FROM NEW THEN\n        RETURN NULL;\n    END IF;\n    INSERT INTO payments_policychange (method, at, actor, database_user, old, new) VALUES (\n        CASE WHEN TG_OP = 'DELETE' THEN OLD.method ELSE NEW.method END,\n        clock_timestamp(),\n        coalesce(\n            nullif(left(current_setting('paywindow.actor', true), 64), ''), left('database:' || session_user, 64)\n        ),\n        session_user,\n        CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) - 'id' - 'method' END,\n        CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) - 'id' - 'method' END\n    );\n    RETURN NULL;\n", hash='952350a9ff388a2f5fb6b3021f188048373329dc', operation='INSERT OR UPDATE OR DELETE', pgid='pgtrigger_policy_recorded_e9c73', table='payments_paymentmethodpolicy', when='AFTER')),
        ),
        migrations.AddIndex(
            model_name='policychange',
            index=models.Index(fields=['method', 'id'], name='policy_change_by_method'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='policychange',
            trigger=pgtrigger.compiler.Trigger(name='policy_change_append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='d141f0d1c50591a049d1978cec30a807fbf56e48', operation='UPDATE OR DELETE', pgid='pgtrigger_policy_change_append_only_b64fc', table='payments_policychange', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='policychange',
            trigger=pgtrigger.compiler.Trigger(name='policy_change_by_trigger_only', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (pg_trigger_depth() = 0)', func="RAISE EXCEPTION 'pgtrigger: Cannot insert rows from % table', TG_TABLE_NAME;", hash='a1f2f60289553ae4772e5fcd0cc05d4f10206dfd', operation='INSERT', pgid='pgtrigger_policy_change_by_trigger_only_eb10d', table='payments_policychange', when='BEFORE')),
        ),
    ]
