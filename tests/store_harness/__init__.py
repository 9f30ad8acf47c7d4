"""Programs that try to make the run store lose or invent something."""
