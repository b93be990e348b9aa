"""What a person reads after a search."""
