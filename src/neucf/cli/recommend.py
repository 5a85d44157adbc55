"""`neucf recommend` and `neucf similar`: suggestions from a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neucf.cli import options

if TYPE_CHECKING:
    from neucf.artifacts import Run
    from neucf.data.vocabulary import Id, Vocabulary
    from neucf.serving import Filters

USUAL_K, SHOWN_RATINGS = 10, 8

K = Annotated[
    int | None,
    typer.Option("-k", min=1, metavar="K", help="How many suggestions.", show_default="10, or all of fewer items"),
]


def recommend(
    context: typer.Context,
    run: options.Run,
    user: Annotated[str | None, typer.Option(metavar="ID", help="A known user.")] = None,
    liked: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM...", help="What somebody new likes: ids or titles, one or more."),
    ] = None,
    users: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|ID", help="Known users, by id or in a file of one id a line, to the file of --out."),
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Everyone, to the file of --out.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --users or --all-users: a .parquet, .csv or .jsonl file."),
    ] = None,
    k: K = None,
    mask: Annotated[
        Literal["default", "positives", "none"],
        typer.Option(help="What is hidden; default: positives and what was rated low, never the test part."),
    ] = "default",
    genre: options.Genre = None,
    year_from: options.YearFrom = None,
    year_to: options.YearTo = None,
    allow: options.Allow = None,
    deny: options.Deny = None,
    diversity: Annotated[
        float, typer.Option(min=0, max=1, metavar="0..1", help="How much each item should differ from those above it.")
    ] = 0.0,
    new_items: Annotated[
        bool, typer.Option("--new-items", help="Place items nobody has touched by their genres, and mark them.")
    ] = False,
    ann: Annotated[
        bool, typer.Option("--ann", help="Look only where the index of `neucf index` says: nearly the same lists.")
    ] = False,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Recommend to a known user, to somebody new by what they like, or to many or all users at once.

    Such as: neucf recommend RUN --user 30, or neucf recommend RUN --liked "Toy Story (1995)" 260
    """
    many = bool(users) or all_users
    if (user is not None) + bool(liked) + bool(users) + all_users != 1:
        raise typer.BadParameter(
            "Give exactly one of --user ID, --liked ITEM..., --users FILE|ID --out FILE and --all-users --out FILE."
        )
    # What stands after the first value of --liked.
    more = context.args
    if more and not liked:
        raise typer.BadParameter(f"Only --liked takes several values; got {more[0]!r} too.")
    if ann and new_items:
        raise typer.BadParameter("--ann and --new-items don't go together: the index does not hold such items.")
    if many != (out is not None):
        raise typer.BadParameter("--users or --all-users and --out FILE go together.")
    if new_items and many:
        raise typer.BadParameter("--new-items needs --user or --liked: the file of --out has no mark for such items.")

    from neucf.artifacts import open_run
    from neucf.cli import display
    from neucf.serving import Service, match_item, write_recommendations

    opened = open_run(run)
    k = k or min(USUAL_K, len(opened.model.item_ids))
    service = Service(opened, new_items=new_items, ann=ann)
    filters = filters_of(opened, genre, year_from, year_to, allow, deny)
    asked: dict[str, Any] = {"mask": mask, "filters": filters, "diversity": diversity, "threads": threads}
    if out is not None:
        chosen = tuple(dict.fromkeys(_ids(users, opened.model.user_ids))) if users else None
        with display.counting("Recommending") as progress:
            num_rows = write_recommendations(service, out, k, user_ids=chosen, progress=progress, **asked)
        num_users = len(opened.model.user_ids) if chosen is None else len(chosen)
        if json:
            display.document({"out": str(out), "num_users": num_users, "num_rows": num_rows})
        else:
            display.say(f"{out}: {num_rows:,} rows, up to {k} for each of {num_users:,} users.")
    elif user is not None:
        external = opened.model.user_ids.parse(user)
        answer = service.recommend([external], k, **asked)[0]
        if json:
            display.document(answer.to_json())
            return
        display.history_table(f"user {user}", service.history(external, SHOWN_RATINGS))
        display.suggestions_table(f"Suggestions for user {user}", answer)
    else:
        matched = [match_item(service.catalogue, text) for text in [*(liked or []), *more]]
        history = service.histories([[opened.model.item_ids[item] for item in matched]])
        found = service.recommend_histories(history, k, **asked)[0]
        answer = replace(found, matched=tuple(service.named(item) for item in matched))
        if json:
            display.document(answer.to_json())
            return
        display.matched_list("Liked", [display.item_line(item) for item in answer.matched])
        display.suggestions_table("Suggestions", answer)


def similar(
    run: options.Run,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An id or a title.")],
    k: K = None,
    genre: options.Genre = None,
    year_from: options.YearFrom = None,
    year_to: options.YearTo = None,
    allow: options.Allow = None,
    deny: options.Deny = None,
    json: options.Json = False,
) -> None:
    """List the items most similar to ITEM under the model."""
    from neucf.artifacts import open_run
    from neucf.cli import display
    from neucf.serving import NamedItem, Service, match_item

    opened = open_run(run)
    k = k or min(USUAL_K, len(opened.model.item_ids) - 1)
    service = Service(opened)
    matched = opened.model.item_ids[match_item(service.catalogue, item)]
    filters = filters_of(opened, genre, year_from, year_to, allow, deny)
    answer = service.similar(matched, k, filters=filters)
    if json:
        display.document(answer.to_json())
    else:
        name = display.item_line(NamedItem(answer.item_id, answer.title))
        display.suggestions_table(f"Similar to {name}", answer)


def filters_of(
    run: Run,
    genre: Sequence[str] | None,
    year_from: int | None,
    year_to: int | None,
    allow: Sequence[str] | None,
    deny: Sequence[str] | None,
) -> Filters:
    """Returns what the options of filters say; raises UnknownIdError."""
    from neucf.serving import Filters

    item_ids = run.model.item_ids
    allowed = None if allow is None else _ids(allow, item_ids)
    return Filters(tuple(genre or ()), year_from, year_to, allowed, _ids(deny or (), item_ids))


def _ids(values: Sequence[str], vocabulary: Vocabulary) -> tuple[Id, ...]:
    """Returns the ids that values, or the lines of the files they name, stand for; an id wins over a file."""
    from neucf.errors import DataError, UnknownIdError

    found: list[Id] = []
    for value in values:
        try:
            found.append(vocabulary.parse(value))
        except UnknownIdError:
            if not Path(value).is_file():
                raise
            try:
                lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError):
                raise DataError(f"{value} must be a text file of one id a line; it cannot be read as one.") from None
            found += [vocabulary.parse(line.strip()) for line in lines if line.strip()]
    return tuple(found)
