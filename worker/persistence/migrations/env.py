"""Run by alembic, with the connection that ``migrate.py`` hands over."""

from alembic import context

from worker.persistence.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes a column by making the table anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
