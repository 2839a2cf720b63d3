"""What tests of qme and of other people's executors use: a real NATS server, fixtures. Not for production."""
