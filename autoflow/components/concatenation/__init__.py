"""Registered concatenation components, one a file; the file carries the component's public name."""
