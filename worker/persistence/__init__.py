"""SQL: schema, repositories, journal and outbox."""
