"""A run folder becomes one self-contained HTML page; nothing here touches a model."""

from scoreward.report.run.page import write_report

__all__ = ["write_report"]
