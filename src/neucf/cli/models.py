"""`neucf models`: the names in MODELS, and the settings of one of them."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model to list settings of.")] = None,
) -> None:
    """List the models, or the settings of one for `neucf train --set`."""
    from neucf.cli import reports
    from neucf.models import MODELS

    if name is None:
        reports.model_names({each: MODELS[each] for each in MODELS})
    else:
        reports.model_settings(MODELS[name])
