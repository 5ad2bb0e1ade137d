"""Which modules of musiclib a notebook uses, and a hash of what they do.

Conventions: only imports as they are written count (``from musiclib import x``, ``from musiclib.x
import y``, ``import musiclib.x``), followed from module to module. Where that cannot be told, all
modules count: a notebook is run once too often rather than once too seldom.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_INIT = "__init__"


def code_hash(sources: Iterable[str], package: Path, *, leave_out: Iterable[str] = ()) -> str:
    """Hash the modules of `package` that the code `sources` uses, one through another.

    Parameters
    ----------
    sources : iterable of str
        Code cells.
    package : Path
        The package's folder.
    leave_out : iterable of str
        Modules that do not count.

    Returns
    -------
    str
        Comments, docstrings and layout do not change it.
    """
    modules = {path.stem: path for path in package.glob("*.py")}
    used = _used(sources, package.name, modules) - set(leave_out)
    digest = hashlib.sha256()
    for name in sorted(used):
        digest.update(f"{name}\0{_bare(modules[name].read_text(encoding='utf-8'))}\0".encode())
    return digest.hexdigest()


def _used(sources: Iterable[str], package: str, modules: dict[str, Path]) -> set[str]:
    try:
        trees = [ast.parse(_without_magics(source)) for source in sources]
    except SyntaxError:
        return set(modules)
    used: set[str] = set()
    found = {_INIT} | {name for tree in trees for name in _imports(tree, package)}
    while found:
        used |= found
        texts = [modules[name].read_text(encoding="utf-8") for name in found & set(modules)]
        found = {name for text in texts for name in _imports(ast.parse(text), package)} - used
    return set(modules) if "*" in used else used & set(modules)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Give the names that may be modules of the package; ``*`` where it may be any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            top, _, module = (node.module or "").partition(".")
            if top == package:
                yield from [module] if module else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top, _, module = alias.name.partition(".")
                if top == package:
                    yield module or "*"


def _without_magics(source: str) -> str:
    lines = source.splitlines()
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)


@functools.cache
def _bare(source: str) -> str:
    """Write a module down without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    constant = isinstance(node, ast.Expr) and isinstance(value, ast.Constant)
    return constant and isinstance(value.value, str)
