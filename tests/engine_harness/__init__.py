"""Real engines under real misfortune; docs/explanation/durability.md has what came out."""
