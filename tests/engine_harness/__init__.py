"""Real engines under real misfortune; docs/durability.md has what came out."""
