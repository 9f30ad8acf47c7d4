"""The command line: one small module per group of commands.

What is heavy (Textual, numpy, h5py, scipy) is imported by the command that needs it, when it runs.
"""
