"""Ranking, metrics, protocols and statistics."""
