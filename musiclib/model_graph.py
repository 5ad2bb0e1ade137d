"""Read the blocks and arrows of a built model off the model itself, for `diagrams` to draw.

Conventions: a *block* is a layer, a sub-model or an operation of a Keras model, with its output
shape (None: any size, the batch comes first) and its parameters. Keras itself is not imported: a
model is known by what it has.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_NUMBER = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class Block:
    """One box of an architecture.

    Attributes
    ----------
    name : str
        The layer's name.
    kind : str
        Its class.
    shape : str
        Of its output, such as ``(None, 128, 192)``; of several, the first and how many more.
    parameters : int
        Of one copy; 0 where weights shared with an earlier block were counted there.
    parents : tuple of int
        The blocks whose output it takes, by their place in the list.
    copies : int
        How many like layers it stands for.
    folded : tuple of str
        Classes of the layers that follow it and were folded into it.
    is_model : bool
        A model within the model.
    shared : bool
        Its weights are those of an earlier block.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    parents: tuple[int, ...] = ()
    copies: int = 1
    folded: tuple[str, ...] = ()
    is_model: bool = False
    shared: bool = False

    @property
    def is_input(self) -> bool:
        """Tell whether it is where data comes in."""
        return self.kind == "InputLayer"


def read_blocks(model: Any, *, fold: bool = True, merge: bool = True) -> list[Block]:
    """List the blocks of a built model so that each comes after those it takes from.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential: the graph is walked, operations that are no layers included.
        Of a subclassed model the layers are listed as they were made, without arrows, as such a
        model keeps no graph.
    fold : bool
        Fold what only follows one layer and has no weights, or normalises, into its box.
    merge : bool
        Make one block, with their number, of like layers that take from the same and whose names
        differ in their numbers only.

    Returns
    -------
    list of Block
        Their ``copies * parameters`` add up to ``model.count_params()``.

    Raises
    ------
    ValueError
        If `model` is no model, or is not built.
    """
    if not hasattr(model, "layers") or not hasattr(model, "count_params"):
        raise ValueError(f"model: got {type(model).__name__}, allowed is a Keras model")
    if not getattr(model, "built", False):
        raise ValueError(f"model: {model.name!r} is not built; call it on data, or build it, first")
    nodes = _nodes(model)
    if nodes is None:
        return _listed(model)
    blocks = _walked(nodes)
    blocks = _fold(blocks) if fold else blocks
    return _merge(blocks) if merge else blocks


def ranks(blocks: list[Block]) -> list[int]:
    """Return the row of each block: below all its parents; inputs right above who takes them.

    Blocks of a model without arrows come one below the other.
    """
    if not any(block.parents for block in blocks):
        return list(range(len(blocks)))
    rank: list[int] = []
    for block in blocks:
        rank.append(1 + max((rank[parent] for parent in block.parents), default=-1))
    for index, block in enumerate(blocks):
        takers = [rank[i] for i, other in enumerate(blocks) if index in other.parents]
        if not block.parents and takers:
            rank[index] = min(takers) - 1
    return rank


def _nodes(model: Any) -> list[Any] | None:
    """Return the nodes of the model's graph in order, or None where it keeps none."""
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)
    if not by_depth:
        return None
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _walked(nodes: list[Any]) -> list[Block]:
    places = {id(node): place for place, node in enumerate(nodes)}
    blocks, counted = [], set()
    for node in nodes:
        layer = node.operation
        sources = [tensor._keras_history for tensor in node.input_tensors]
        parents = [places[id(s.operation._inbound_nodes[s.node_index])] for s in sources]
        first, *others = [_shape(tensor.shape) for tensor in node.output_tensors]
        shape = f"{first} +{len(others)}" if others else first
        again = id(layer) in counted
        counted.add(id(layer))
        block = _block(layer, shape, parents=dict.fromkeys(parents))
        blocks.append(dataclasses.replace(block, parameters=0, shared=True) if again else block)
    return blocks


def _listed(model: Any) -> list[Block]:
    """Return the layers of a subclassed model, with shapes where Keras knows them."""
    blocks = []
    for layer in model.layers:
        try:
            shape = _shape(layer.output.shape)
        except (AttributeError, ValueError, RuntimeError):
            shape = ""
        blocks.append(_block(layer, shape))
    return blocks


def _block(layer: Any, shape: str, *, parents: Iterable[int] = ()) -> Block:
    count = getattr(layer, "count_params", lambda: 0)
    return Block(
        name=layer.name,
        kind=type(layer).__name__,
        shape=shape,
        parameters=int(count()) if getattr(layer, "built", True) else 0,
        parents=tuple(parents),
        is_model=bool(getattr(layer, "layers", None)),
    )


def _shape(shape: Any) -> str:
    """Write a shape.

    Examples
    --------
    >>> _shape((None, 8)), _shape((None,))
    ('(None, 8)', '(None,)')
    """
    return str(tuple(None if size is None else int(size) for size in shape))


def _is_light(block: Block) -> bool:
    """Tell whether a block may be folded into the one before it."""
    plain = not (block.is_model or block.is_input or block.shared)
    return plain and (block.parameters == 0 or block.kind.endswith("Normalization"))


def _fold(blocks: list[Block]) -> list[Block]:
    children = [0] * len(blocks)
    for block in blocks:
        for parent in block.parents:
            children[parent] += 1
    kept: list[Block] = []
    place: dict[int, int] = {}
    for index, block in enumerate(blocks):
        parents = tuple(place[parent] for parent in block.parents)
        host = kept[parents[0]] if len(parents) == 1 else None
        if host and _is_light(block) and children[block.parents[0]] == 1 and not host.is_input:
            place[index] = parents[0]
            kept[parents[0]] = dataclasses.replace(
                host,
                shape=block.shape,
                parameters=host.parameters + block.parameters,
                folded=(*host.folded, block.kind),
            )
            continue
        place[index] = len(kept)
        kept.append(dataclasses.replace(block, parents=parents))
    return kept


def _merge(blocks: list[Block]) -> list[Block]:
    kept: list[Block] = []
    place: dict[int, int] = {}
    alike: dict[Block, int] = {}
    for index, block in enumerate(blocks):
        parents = tuple(dict.fromkeys(place[parent] for parent in block.parents))
        block = dataclasses.replace(block, parents=parents)
        likeness = dataclasses.replace(block, name=_NUMBER.sub("", block.name))
        if parents and likeness in alike:
            place[index] = alike[likeness]
            twin = kept[place[index]]
            kept[place[index]] = dataclasses.replace(twin, copies=twin.copies + 1)
            continue
        place[index] = alike[likeness] = len(kept)
        kept.append(block)
    return kept
