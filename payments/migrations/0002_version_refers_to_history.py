"""A transition without its history entry cannot be committed: `version` refers to the entry of that number."""

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
