"""The heart: what happens in Redis. No socket, no thread, no clock of its own."""
