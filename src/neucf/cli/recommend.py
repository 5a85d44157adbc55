"""`neucf recommend` and `neucf similar`: suggestions from a run."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neucf.cli import options

if TYPE_CHECKING:
    from neucf.artifacts import Run
    from neucf.data.interactions import Id

SHOWN_RATINGS = 8

K = Annotated[int, typer.Option("-k", min=1, metavar="K", help="How many suggestions.")]


def recommend(
    context: typer.Context,
    run: options.Run,
    user: Annotated[str | None, typer.Option(metavar="ID", help="A known user.")] = None,
    liked: Annotated[
        list[str] | None,
        typer.Option(metavar="ITEM...", help="What somebody new likes: ids or exact titles, one or more."),
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Everyone, to the file of --out.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --all-users: a .parquet, .csv or .jsonl file.")
    ] = None,
    k: K = 10,
    mask: Annotated[
        Literal["default", "positives", "none"],
        typer.Option(help="What is hidden; default: positives and what was rated low, never the test part."),
    ] = "default",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Recommend to a known user, to somebody new by what they like, or to everyone.

    Such as: neucf recommend RUN --user 30, or neucf recommend RUN --liked "Toy Story (1995)" 260
    """
    if (user is not None) + bool(liked) + all_users != 1:
        raise typer.BadParameter("Give exactly one of --user ID, --liked ITEM... and --all-users --out FILE.")
    # What stands after the first value of --liked.
    more = context.args
    if more and not liked:
        raise typer.BadParameter(f"Only --liked takes several values; got {more[0]!r} too.")
    if all_users != (out is not None):
        raise typer.BadParameter("--all-users and --out FILE go together.")

    from neucf.artifacts import open_run
    from neucf.cli import display
    from neucf.serving import Service, write_recommendations

    opened = open_run(run)
    service = Service(opened)
    if out is not None:
        with display.counting("Recommending") as progress:
            num_rows = write_recommendations(service, out, k, mask=mask, progress=progress, threads=threads)
        num_users = len(opened.model.user_ids)
        if json:
            display.document({"out": str(out), "num_users": num_users, "num_rows": num_rows})
        else:
            display.say(f"{out}: {num_rows:,} rows, up to {k} for each of {num_users:,} users.")
    elif user is not None:
        external = opened.model.user_ids.parse(user)
        answer = service.recommend([external], k, mask=mask, threads=threads)[0]
        if json:
            display.document(answer.to_json())
            return
        display.history_table(f"What user {user} rated highest", service.history(external, SHOWN_RATINGS))
        display.suggestions_table(f"Suggestions for user {user}", answer)
    else:
        matched = [match_item(opened, text) for text in [*(liked or []), *more]]
        people = service.histories([matched])
        found = service.recommend_histories(people, k, mask=mask, threads=threads)[0]
        answer = replace(found, matched=tuple(matched))
        if json:
            display.document(answer.to_json())
            return
        display.matched_list("Liked", [display.item_line(opened, item) for item in matched])
        display.suggestions_table("Suggestions", answer)


def similar(
    run: options.Run,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An id or an exact title.")],
    k: K = 10,
    json: options.Json = False,
) -> None:
    """List the items most similar to ITEM by the model's item vectors."""
    from neucf.artifacts import open_run
    from neucf.cli import display
    from neucf.serving import Service

    opened = open_run(run)
    matched = match_item(opened, item)
    answer = Service(opened).similar(matched, k)
    if json:
        display.document(answer.to_json())
    else:
        display.suggestions_table(f"Similar to {display.item_line(opened, matched)}", answer)


def match_item(run: Run, text: str) -> Id:
    """Returns the item that an id, or a title in any case, names; raises UnknownIdError with the nearest titles."""
    from neucf.cli.display import full_title
    from neucf.errors import UnknownIdError

    vocabulary = run.model.item_ids
    try:
        return vocabulary.parse(text)
    except UnknownIdError:
        if run.items is None:
            raise
    titles: dict[str, int] = {}
    for index, (title, year) in enumerate(run.items.select("title", "year").iter_rows()):
        if title is not None:
            titles.setdefault(full_title(title, year).casefold(), index)
            titles.setdefault(title.casefold(), index)
    wanted = text.casefold()
    if wanted in titles:
        return vocabulary[titles[wanted]]
    nearest = difflib.get_close_matches(wanted, titles, n=3, cutoff=0.3)
    raise UnknownIdError("item", text, [repr(run.items["title"][titles[title]]) for title in nearest])
