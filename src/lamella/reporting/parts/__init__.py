"""What stands in a section of the report's page: its tables, and the words that say by which rules they were made."""
