"""search_titles and match_item: items by what people call them, misspelt a little."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import polars as pl
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from neucf.data.titles import full_title, split_year
from neucf.data.vocabulary import Vocabulary
from neucf.errors import DataError, UnknownIdError

# Characters of a name for each misspelt one that is overlooked.
LETTERS_PER_ERROR = 4
# Of 100: how well a name must fit to be found at all.
MIN_FIT = 60
# Items named in an error, at most.
NUM_NAMED = 5
# 'Seven (a.k.a. Se7en)': what stands in brackets, bare.
_BRACKETS = re.compile(r"\((?:a\.?k\.?a\.?\s+)?([^()]*)\)", re.IGNORECASE)
_ARTICLES = "the|a|an|le|la|les|l|el|los|las|il|lo|der|die|das|un|une"


@dataclass(frozen=True, slots=True)
class Found:
    """An item a search came upon: its index, its title with its year, and how well the query fits, of 100."""

    item: int
    title: str
    score: float


class Catalogue:
    """The names items go by: the title, the title without brackets, and what stands in each pair of them.

    Args:
        item_ids: The catalogue's vocabulary.
        items: title and year in index order; None where nothing is known: then only ids are names.
    """

    def __init__(self, item_ids: Vocabulary, items: pl.DataFrame | None) -> None:
        self.item_ids = item_ids
        self.titles: dict[int, tuple[str, int | None]] = {}
        self.names: list[str] = []
        self.owners: list[int] = []
        # Whether a name is one from brackets, which gives way to another item's title.
        self.bracketed: list[bool] = []
        rows = [] if items is None else items.select("title", "year").iter_rows()
        for index, (title, year) in enumerate(rows):
            if title:
                self.titles[index] = (title, year)
                names = {plain(part): True for part in _BRACKETS.findall(title)}
                names |= {plain(title): False, plain(_BRACKETS.sub(" ", title)): False}
                for name, bracketed in names.items():
                    # '(Untitled)' is nothing without its brackets; '$' is nothing else
                    if name or len(names) == 1:
                        self.names.append(name)
                        self.owners.append(index)
                        self.bracketed.append(bracketed)

    def title(self, item: int) -> str:
        """Returns an item's title with its year."""
        return full_title(*self.titles[item])

    def described(self, items: list[int]) -> str:
        """Returns titles and ids of items, for errors."""
        named = [f"{self.title(item)}, item {self.item_ids[item]}" for item in items[:NUM_NAMED]]
        return "; ".join(named) + ("; ..." if len(items) > NUM_NAMED else "")


def plain(title: str) -> str:
    """Returns a title without case, accents, punctuation and articles: 'Matrix, The' -> 'matrix'."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", title.casefold()) if not unicodedata.combining(c))
    bare = re.sub(rf",\s*({_ARTICLES})\b'?\s*(?=\(|\)|$)", " ", bare)
    words = re.sub(r"[\W_]+", " ", bare.replace("&", " and ").replace("'", "")).split()
    if len(words) > 1 and re.fullmatch(_ARTICLES, words[0]):
        words = words[1:]
    return " ".join(words)


def search_titles(catalogue: Catalogue, query: str, limit: int = 10) -> list[Found]:
    """Returns the items whose titles fit a query best, the best first; a part of a title is enough.

    Titles that begin with the query come first; a year in brackets must be the item's.

    Args:
        catalogue: The names.
        query: A title or a part of one, misspelt or not.
        limit: How many items, at most.
    """
    asked, year = split_year(query)
    wanted = plain(asked)
    if not wanted or limit < 1:
        return []
    fits = process.extract(wanted, catalogue.names, scorer=fuzz.WRatio, score_cutoff=MIN_FIT, limit=None)
    best: dict[int, tuple[bool, float, int, int]] = {}
    for name, score, place in fits:
        item = catalogue.owners[place]
        if len(name) < len(wanted):
            # 'M' is no fit for 'Amelie', of which it is a part
            score = fuzz.ratio(wanted, name)
        if score >= MIN_FIT and (year is None or catalogue.titles[item][1] == year):
            key = (not name.startswith(wanted), -score, len(name), item)
            best[item] = min(key, best.get(item, key))
    ranked = sorted(best, key=best.__getitem__)[:limit]
    return [Found(item, catalogue.title(item), -best[item][1]) for item in ranked]


def match_item(catalogue: Catalogue, text: str) -> int:
    """Returns the index of the item that an id names, or a title, its beginning, or one misspelt by a letter in four.

    A misspelling is one of letters: numbers must agree, and so must a year in brackets.

    Raises:
        UnknownIdError: If nothing is near enough; names the nearest titles.
        DataError: If several items are equally near; names them.
    """
    try:
        return catalogue.item_ids.index(catalogue.item_ids.parse(text))
    except UnknownIdError:
        if not catalogue.names:
            raise
    asked, year = split_year(text)
    equal = _nearest(catalogue, plain(asked), year)
    if len(equal) > 1:
        raise DataError(
            f"`item` must name one item; {text!r} is equally near to {len(equal)}: {catalogue.described(equal)}. "
            "Give the year in brackets, or the id."
        )
    if not equal:
        found = search_titles(catalogue, asked, 3)
        raise UnknownIdError("item", text, [repr(each.title) for each in found])
    return equal[0]


def _nearest(catalogue: Catalogue, wanted: str, year: int | None) -> list[int]:
    """Returns the items of a name; else those whose names begin with it; else those that it is a misspelling of."""
    most = len(wanted) // LETTERS_PER_ERROR
    distances = process.extract(wanted, catalogue.names, scorer=OSA.distance, score_cutoff=most, limit=None)
    nearest: dict[int, tuple[int, bool]] = {}
    for name, distance, place in distances:
        item = catalogue.owners[place]
        if _numbers(name) == _numbers(wanted) and year in (None, catalogue.titles[item][1]):
            key = (int(distance), catalogue.bracketed[place])
            nearest[item] = min(key, nearest.get(item, key))
    least = min(nearest.values(), default=(most, False))
    equal = sorted(item for item, key in nearest.items() if key == least)
    named = zip(catalogue.names, catalogue.owners, strict=True)
    begun = [(name, item) for name, item in named if name.startswith(f"{wanted} ")]
    if not begun or (equal and not least[0]):
        return equal
    # 'Star Wars' is short for one of these, no misspelt 'Star Maps'
    items = {item for _, item in begun if year in (None, catalogue.titles[item][1])}
    if year is None and len(items) == 1:
        # The only sequel there is, is another film
        items = {item for name, item in begun if _numbers(name) == _numbers(wanted)}
    return sorted(items)


def _numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)
