"""What may be configured: `schema` has the keys, `check` holds values to them, `words` says them to a user."""
