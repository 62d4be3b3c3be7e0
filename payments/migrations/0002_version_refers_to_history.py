"""`version` refers to the history entry of that number: with the trigger that makes every transition count it up, a
transition without its entry cannot be committed.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql="""
                ALTER TABLE payments_paymentattempt
                ADD CONSTRAINT attempt_version_has_history FOREIGN KEY (id, version)
                REFERENCES payments_historyentry (attempt_id, number) DEFERRABLE INITIALLY DEFERRED
            """,
            reverse_sql="ALTER TABLE payments_paymentattempt DROP CONSTRAINT attempt_version_has_history",
        ),
    ]
