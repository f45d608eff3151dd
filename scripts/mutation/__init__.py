"""Protections taken away, one at a time, and the tests that miss them."""
