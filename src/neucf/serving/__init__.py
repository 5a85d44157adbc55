"""Recommendations by external ids, with titles: for known users, new people, and everyone at once."""

from neucf.serving.ann import Built
from neucf.serving.ann_file import build_index, open_index
from neucf.serving.answers import HistoryItem, NamedItem, Recommendations, RecommendedItem, Similar
from neucf.serving.batch import write_recommendations
from neucf.serving.filters import EVERYTHING, Filters
from neucf.serving.known import MASKS, Mask
from neucf.serving.ranking import Ranked
from neucf.serving.recommending import recommend
from neucf.serving.search import Catalogue, Found, match_item, search_titles
from neucf.serving.service import Service

__all__ = [
    "Built",
    "build_index",
    "open_index",
    "Catalogue",
    "EVERYTHING",
    "Filters",
    "Found",
    "HistoryItem",
    "MASKS",
    "Mask",
    "NamedItem",
    "Ranked",
    "RecommendedItem",
    "Recommendations",
    "Service",
    "Similar",
    "match_item",
    "recommend",
    "search_titles",
    "write_recommendations",
]
