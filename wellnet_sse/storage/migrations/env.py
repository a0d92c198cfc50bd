"""What Alembic runs; `Database.migrate` hands it an open connection, in a transaction that holds a lock."""

from alembic import context

# No fileConfig() here, as Alembic's template has it: logging belongs to the application.
context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
