"""Single objects in class ids: found, numbered, measured, outlined."""
