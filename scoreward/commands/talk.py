"""The terminal that commands talk to: text is printed as it is, whatever brackets paths have."""

from rich.console import Console

console = Console(markup=False)
"""Colours and weights come as `style`, never as marks within a text."""
