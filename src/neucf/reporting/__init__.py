"""Reports: a leaderboard and what its runs hold, as one HTML page that needs no network."""

from neucf.reporting.page import write_report

__all__ = ["write_report"]
