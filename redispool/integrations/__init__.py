"""Bridges to other libraries, each optional; none imports another."""
