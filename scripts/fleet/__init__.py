"""A fleet that shares one pool, what is done to it, and who judges."""
