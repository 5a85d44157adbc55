"""Recommendations by external ids, with titles: for known users, new people, and everyone at once."""

from neucf.serving.answers import HistoryItem, Recommendations, RecommendedItem, Similar
from neucf.serving.batch import write_recommendations
from neucf.serving.known import MASKS, Mask
from neucf.serving.recommending import Ranked, Service, recommend

__all__ = [
    "HistoryItem",
    "MASKS",
    "Mask",
    "Ranked",
    "RecommendedItem",
    "Recommendations",
    "Service",
    "Similar",
    "recommend",
    "write_recommendations",
]
