"""The documentation: what of it is generated from the code, and that the rest is true."""
