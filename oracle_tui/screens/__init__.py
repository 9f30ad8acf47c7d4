"""The screens: each one Python file and one stylesheet. They draw views and post requests."""
