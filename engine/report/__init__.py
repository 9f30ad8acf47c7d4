"""Runs as one HTML file that needs nothing else: no network, no script, no other file."""

from engine.report.document import write_report

__all__ = ["write_report"]
