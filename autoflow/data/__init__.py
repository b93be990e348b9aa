"""Reading tables, guessing column kinds, checking and splitting."""
