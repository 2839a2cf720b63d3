"""The message bus: a port of a dozen primitives, NATS JetStream behind it, and an in-memory twin for tests."""
