"""A pretended CUDA device: tensors said to lie on it are CPU tensors in a wrapper, worked on by the CPU.

What a device refuses is refused: tensors of two devices in one operation, and while a graph is captured whatever waits
for the device or draws random numbers. A captured graph is the list of operations with the memory that they knew; it
has moved nothing when it is done, and a replay does them again on what then lies there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda:0")
aten = torch.ops.aten
# What may meet tensors of both devices, and what may be indexed from the CPU.
ACROSS = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# What has the CPU wait for the device, and what draws from a generator.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal"}
RANDOM = {"rand", "randint", "randn", "randperm", "normal_", "uniform_", "bernoulli_", "random_", "native_dropout"}


class OnCuda(Tensor):
    """A tensor said to lie on the device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCuda:
        # A sparse one has none, and is said to be a dense one; its operations are sparse all the same
        laid_out = {"strides": held.stride(), "storage_offset": held.storage_offset()} if _is_dense(held) else {}
        wrapper: OnCuda = Tensor._make_wrapper_subclass(cls, held.shape, **laid_out, dtype=held.dtype, device=CUDA)
        wrapper.held = held
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return run(function, args, kwargs or {})


class Dispatch(TorchDispatchMode):
    """Also gets at operations that make a tensor on the device from none there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return run(function, args, kwargs or {})


class Graph:
    """Stands for torch.cuda.CUDAGraph."""

    capturing: Graph | None = None
    num_replays = 0

    def __init__(self) -> None:
        self.done: list[tuple[Any, Any, Any, Any]] = []
        self.made: dict[int, Tensor] = {}
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(self, function: Any, args: Any, kwargs: Any) -> None:
        """Keeps what memory that was there before holds, where an operation is about to write it."""
        for place, argument in enumerate(function._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = args[place] if place < len(args) else kwargs.get(argument.name)
                for each in _tensors(written):
                    if _memory(each) not in self.made:
                        whole = _whole(each)
                        self.before.setdefault(_memory(each), (whole, whole.clone()))

    def add(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        given = {_memory(each) for each in _tensors((args, kwargs))}
        self.made |= {_memory(each): each for each in _tensors(result) if _memory(each) not in given}
        self.done.append((function, args, kwargs, result))

    def replay(self) -> None:
        Graph.num_replays += 1
        for function, args, kwargs, result in self.done:
            for kept, new in zip(_tensors(result), _tensors(function(*args, **kwargs)), strict=True):
                if _memory(kept) != _memory(new):
                    kept.copy_(new)


@contextlib.contextmanager
def capture(graph: Graph, stream: Any = None) -> Iterator[None]:
    """Stands for torch.cuda.graph."""
    del stream
    Graph.capturing = graph
    try:
        yield
    finally:
        Graph.capturing = None
        for now, before in graph.before.values():
            now.copy_(before)


def run(function: Any, args: Any, kwargs: Any) -> Any:
    """Does an operation on the CPU, as far as the device would."""
    there = [each for each in _tensors((args, kwargs)) if isinstance(each, OnCuda)]
    here = [each for each in _tensors((args, kwargs)) if not isinstance(each, OnCuda) and each.ndim > 0]
    wanted = kwargs.get("device")
    stays = bool(there) if wanted is None else torch.device(wanted).type == "cuda"
    if function is aten.copy_.default:
        stays = isinstance(args[0], OnCuda)
    indexed = function in INDEXED and isinstance(args[0], OnCuda)
    if there and here and function not in ACROSS and not indexed:
        raise RuntimeError(f"{function} met tensors on cuda:0 and on the CPU")
    name, graph = function.__name__.split(".")[0], Graph.capturing if there or stays else None
    if graph is not None:
        masked = indexed and any(each is not None and each.dtype == torch.bool for each in args[1])
        if name in WAITING | RANDOM or here or masked or not stays:
            raise RuntimeError(f"operation not permitted when stream is capturing: {function}")
    owners = {id(each.held): each for each in there}
    args, kwargs = tree_map(lambda each: each.held if isinstance(each, OnCuda) else each, (args, kwargs))
    if wanted is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    if graph is not None:
        graph.keep(function, args, kwargs)
    result = function(*args, **kwargs)
    if graph is not None:
        graph.add(function, args, kwargs, result)
    if not stays or name == "_local_scalar_dense":
        return result

    def moved(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        return owners[id(each)] if id(each) in owners else OnCuda(each)

    return tree_map(moved, result)


@contextlib.contextmanager
def pretended() -> Iterator[None]:
    """Has `device="cuda"` work inside the block."""
    original = torch.Generator

    class Generator(torch.Generator):
        def __new__(cls, device: Any = "cpu") -> torch.Generator:
            del device
            return original.__new__(original)

    nothing = mock.Mock(side_effect=lambda *_, **__: contextlib.nullcontext())
    stand_ins = {
        "_lazy_init": lambda: None, "is_available": lambda: True, "device_count": lambda: 1,
        "is_bf16_supported": lambda: True, "Stream": mock.Mock(), "stream": nothing, "device": nothing,
        "current_stream": mock.Mock(), "set_stream": mock.Mock(), "graph": capture, "CUDAGraph": Graph,
        "is_current_stream_capturing": lambda: Graph.capturing is not None,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, False)
        for name, stand_in in stand_ins.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(Dispatch())
        yield


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _whole(tensor: Tensor) -> Tensor:
    return tensor.as_strided((tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0)
