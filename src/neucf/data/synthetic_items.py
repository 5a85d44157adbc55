"""made_up_items: titles, years and genres of items that nobody ever saw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

_GENRES = {
    "Action": ("Strike", "Fury", "Chase", "Bullet", "Vengeance", "Outpost"),
    "Adventure": ("Voyage", "Island", "Treasure", "Summit", "Compass", "Caravan"),
    "Animation": ("Fox", "Robot", "Balloon", "Toymaker", "Penguin", "Paintbox"),
    "Comedy": ("Wedding", "Neighbour", "Holiday", "Mix-Up", "Landlord", "Picnic"),
    "Crime": ("Heist", "Alibi", "Ledger", "Syndicate", "Witness", "Fence"),
    "Documentary": ("River", "Archive", "Harvest", "Glacier", "Orchestra", "Factory"),
    "Drama": ("Letter", "Daughter", "Winter", "Promise", "Homecoming", "Orchard"),
    "Fantasy": ("Dragon", "Sorcerer", "Kingdom", "Amulet", "Willow", "Griffin"),
    "Film-Noir": ("Alley", "Stranger", "Cigarette", "Pier", "Shadow", "Saxophone"),
    "Horror": ("Cellar", "Scream", "Mirror", "Asylum", "Scarecrow", "Hollow"),
    "Musical": ("Melody", "Chorus", "Cabaret", "Encore", "Serenade", "Spotlight"),
    "Mystery": ("Riddle", "Key", "Portrait", "Clock", "Manor", "Cipher"),
    "Romance": ("Kiss", "Summer", "Rendezvous", "Bouquet", "Balcony", "Valentine"),
    "Sci-Fi": ("Starship", "Signal", "Android", "Orbit", "Colony", "Paradox"),
    "Thriller": ("Hostage", "Deadline", "Passenger", "Conspiracy", "Basement", "Double"),
    "War": ("Battalion", "Trench", "Squadron", "Armistice", "Bridge", "Convoy"),
    "Western": ("Gunslinger", "Canyon", "Stagecoach", "Sheriff", "Saloon", "Mustang"),
    "Sport": ("Marathon", "Underdog", "Champion", "Regatta", "Overtime", "Velodrome"),
}
# fmt: off
_ADJECTIVES = (
    "Amber", "Ancient", "Blue", "Broken", "Burning", "Crimson", "Crooked", "Distant", "Electric", "Empty",
    "Endless", "Fallen", "Forgotten", "Frozen", "Gentle", "Golden", "Grand", "Hidden", "Invisible", "Iron", "Last",
    "Little", "Lonely", "Lost", "Lucky", "Midnight", "Misty", "Northern", "Paper", "Perfect", "Quiet", "Reckless",
    "Restless", "Royal", "Rusty", "Sacred", "Scarlet", "Secret", "Silent", "Silver",
)
# fmt: on


def made_up_items(rng: np.random.Generator, membership: npt.NDArray[np.float64]) -> pl.DataFrame:
    """Returns item_id, title, year and genres (most fitting first) in index order."""
    dim: int = membership.shape[0]
    num_items: int = membership.shape[1]
    genres = [*_GENRES, *(f"Genre {number}" for number in range(len(_GENRES) + 1, dim + 1))]
    nouns = [noun for of_genre in _GENRES.values() for noun in of_genre]
    num_nouns = len(nouns) // len(_GENRES)
    nouns += ["Story"] * (num_nouns * (len(genres) - len(_GENRES)))

    order: npt.NDArray[np.int64] = np.argsort(-membership, axis=0, kind="stable")
    first, second = order[0], order[min(1, dim - 1)]
    noun = first * num_nouns + rng.integers(0, num_nouns, num_items)
    adjective = rng.integers(0, len(_ADJECTIVES), num_items)
    title = pl.concat_str("adjective", pl.lit(" "), "noun")
    sequel = pl.int_range(1, pl.len() + 1).over(title)
    return pl.DataFrame(
        {
            "item_id": pl.int_range(1, num_items + 1, eager=True),
            "adjective": pl.Series(_ADJECTIVES).gather(adjective),
            "noun": pl.Series(nouns).gather(noun),
            "year": np.maximum(2021 - rng.geometric(0.05, num_items), 1920).astype(np.int32),
            "first": pl.Series(genres).gather(first),
            "second": pl.Series(genres).gather(second),
            "num_genres": np.count_nonzero(membership, axis=0),
        }
    ).select(
        "item_id",
        pl.when(sequel > 1).then(pl.concat_str(title, pl.lit(" "), sequel)).otherwise(title).alias("title"),
        "year",
        pl.concat_list("first", "second").list.head("num_genres").alias("genres"),
    )
