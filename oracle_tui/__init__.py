"""The terminal app and the command line of oracle-tui: they know only the engine's quiet floor."""
