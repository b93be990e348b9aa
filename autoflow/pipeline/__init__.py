"""Assembling, training and caching one pipeline; it does not know that it is a trial."""
