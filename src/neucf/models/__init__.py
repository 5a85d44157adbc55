"""MODELS: registry name -> model class, resolved on access. A new model is one file and one line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from neucf.models.base import Model
from neucf.models.config import unknown_name

_HOMES = {
    "popularity": "neucf.models.popularity:Popularity",
    "item-knn": "neucf.models.neighbours:ItemKNN",
    "user-knn": "neucf.models.neighbours:UserKNN",
    "ease": "neucf.models.ease:EASE",
    "rp3beta": "neucf.models.rp3beta:RP3Beta",
    "slim": "neucf.models.slim:SLIM",
    "gf-cf": "neucf.models.gf_cf:GFCF",
    "bpr-mf": "neucf.models.mf:BprMF",
    "ials": "neucf.models.ials:IALS",
    "mf": "neucf.models.mf:MF",
    "gmf": "neucf.models.gmf:GMF",
    "mlp": "neucf.models.mlp:MLP",
    "neumf": "neucf.models.neumf:NeuMF",
    "lightgcn": "neucf.models.lightgcn:LightGCN",
    "multi-vae": "neucf.models.multi_vae:MultiVAE",
}


class _Registry(Mapping[str, type[Model]]):
    """Imports a model's module when its name is asked for, so that listing names costs nothing."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in _HOMES

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the class, or `default` where there is none of that name."""
        return self[name] if name in self else default  # noqa: SIM401, as this is what `get` does

    def __getitem__(self, name: str) -> type[Model]:
        if name not in self:
            raise unknown_name("model", name, _HOMES, "model's name")
        module, _, attribute = _HOMES[name].partition(":")
        found: type[Model] = getattr(import_module(module), attribute)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


MODELS = _Registry()

__all__ = ["MODELS", "Model"]
