"""The bus: methods, wire format, servers, the outbox relay and the client."""
