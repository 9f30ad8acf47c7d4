"""Data sets as facts: names, places, folders, a person's own files. No torch."""
