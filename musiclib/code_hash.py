"""Hash the code behind a result, so that a result is made again only when its code changes.

The hash covers the *definitions* (functions, classes, constants) of our own packages that a root
reaches by name, directly or through others. They are hashed as syntax trees, so comments,
docstrings, layout and position do not count. A class counts as a whole, and so does a module that
is passed on. Statements that define nothing count for whatever imports their module. A string
``package.module:name`` is followed, so `pkgutil.resolve_name` may look it up. Other packages are
known by name only: store their versions beside a result. Code that cannot be followed is an error.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

PACKAGES = tuple(Path(__file__).resolve().parents[1] / name for name in ("musiclib", "study"))
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_INNER = (*_DEFINITIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_BLIND = {"eval", "exec", "globals", "__import__", "sys.modules"}
_IMPORT = "importlib.import_module"
_BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "vars", _IMPORT}
# Module and definition; "" is what else the module does, "*" all of it; ("", name) is foreign.
Target = tuple[str, str]
Origins = dict[str, list[tuple[str, str]]]  # of an imported name: modules and names


class CodeError(ValueError):
    """Say which code cannot be followed, where it is and what to do."""


def code_hash(
    *roots: Any, cells: Sequence[str] = (), skip: Iterable[Any] = (),
    packages: Sequence[Path] = PACKAGES,
) -> str:  # fmt: skip
    """Return the hash of all code that some definitions, or a notebook's cells, reach.

    `roots` and `skip` (definitions that do not count) are functions, classes or
    ``"package.module:name"``. With no `packages` the cells are hashed as they stand.
    """
    files = {folder.name: ("", "") for folder in packages if folder.is_dir()}
    for path in (path for folder in packages for path in sorted(folder.glob("*.py"))):
        name = f"{path.parent.name}.{path.stem}".removesuffix(".__init__")
        files[name] = (str(path), path.read_text(encoding="utf-8"))
    code = _Code(tuple(files.items()))
    out = {target for root in skip for target in code.root(root)}
    todo = [target for root in roots for target in code.root(root)]
    lines, reached, known = [code.line("", todo, out)], set(), set(out)
    for text, found in code.cells(cells):
        lines.append(code.line(text, found, out))
        todo += found
    while todo:
        if (target := todo.pop()) not in known and target[0]:
            known.add(target)
            text, found = code.part(target)
            todo += found
            reached |= {code.line(text, found, out)} if text else set()
    return hashlib.sha256("\n".join([*lines, *sorted(reached)]).encode()).hexdigest()


@functools.lru_cache(maxsize=2)  # so that many hashes of the same files parse them once
class _Code:  # the files (module name, (path, text)), each parsed when it is first reached
    def __init__(self, files: tuple[tuple[str, tuple[str, str]], ...]) -> None:
        self.files = dict(files)
        self.packages = {name.partition(".")[0] for name in self.files}
        tops = "|".join(self.packages) or "(?!)"
        self.named = re.compile(rf"\b((?:{tops})\.\w+)(?::| import )(\w+(?:, \w+)*)")
        self.module = functools.cache(lambda name: _Module(self, name))
        self.part = functools.cache(self._part)

    def has(self, module: str) -> bool:
        return module.partition(".")[0] in self.packages

    def root(self, root: Any) -> list[Target]:
        if not isinstance(root, str):
            root = f"{getattr(root, '__module__', '')}:{getattr(root, '__qualname__', '')}"
        module, _, name = root.partition(":")
        if not self.has(module) or not name:
            raise CodeError(f"{root}: a root is a definition of {', '.join(sorted(self.packages))}")
        return self.follow(module, name.partition(".")[0], root)

    def follow(self, module: str, name: str, where: str) -> list[Target]:
        if not self.has(module):
            return [("", f"{module}.{name}".removesuffix("."))]
        if module in self.files and (found := self.lookup(module, name)):
            return found
        raise CodeError(f"{where}: {module} has no {name or 'file'}; correct the name")

    def lookup(self, module: str, name: str) -> list[Target]:
        if not name:
            return [(module, "*")]
        known = self.module(module)
        found = [(module, name)] if name in known.bound else []
        for origin in known.imports.get(name, ()):
            found += self.follow(*origin, known.path)
        inner = f"{module}.{name}"
        return found or ([(inner, "*")] if inner in self.files else [])

    def line(self, text: str, found: Sequence[Target], out: set[Target]) -> str:
        named = (self.part(t)[0] for t in found if all(t) and t not in out)
        return " ".join(hashlib.sha256(each.encode()).hexdigest() for each in (text, *named))

    def _part(self, target: Target) -> tuple[str, list[Target]]:
        name, known, others = target[1], self.module(target[0]), [(target[0], "")]
        if name == "*":
            found = [t for n in (*known.bound, *known.imports) for t in self.lookup(target[0], n)]
            texts = {t: self.part(t)[0] for t in found if all(t) and t[1] != "*"}
            return " ".join(sorted(texts.values())), [*sorted(texts, key=texts.get), *others]
        tree = ast.Module(known.bound[name] if name else known.effects, [])
        for origin in itertools.chain(*known.imports.values()):  # though it may not be used
            self.follow(*origin, known.path)
        reader = _Reader(self, tree, known.path, target[0])
        text = reader.text(tree.body) if tree.body else ""
        needs = [(m, "") for m in known.needs if m in self.files]
        return (f"{name}={text}", reader.found + others) if name else (text, reader.found + needs)

    def cells(self, cells: Sequence[str]) -> Iterator[tuple[str, list[Target]]]:
        found = [_python(cell, f"cell {i}") for i, cell in enumerate(cells, start=1)]
        imports, _ = _imports((node for tree, _ in found for node in ast.walk(tree)), self, "cells")
        for i, (tree, rest) in enumerate(found, start=1):
            reader = _Reader(self, tree, f"cell {i}")
            reader.imports = imports
            yield reader.text(tree.body) + rest, reader.found


def _python(cell: str, where: str) -> tuple[ast.Module, str]:
    for magic in ((), ("%", "!")):
        lines = [(line, line.lstrip().startswith(magic)) for line in cell.splitlines()]
        try:
            tree = ast.parse("\n".join("" if out else line for line, out in lines))
            return tree, "".join(line for line, out in lines if out)
        except SyntaxError as error:
            place, said = f"{where}:{error.lineno}", error.msg
    raise CodeError(f"{place}: cannot be read as Python ({said}); correct it")


class _Module:  # its top level: what defines names, what imports mean, what else acts
    def __init__(self, code: _Code, name: str) -> None:
        self.path, text = code.files[name]
        body = _python(text, self.path)[0].body
        mains = [s for s in body if isinstance(s, ast.If) and "__main__" in ast.unparse(s.test)]
        body = [(s, list(_outside(s))) for s in body if s not in mains]
        outside = itertools.chain(*(nodes for _, nodes in body))
        self.imports, self.needs = _imports(outside, code, self.path)
        self.bound: dict[str, list[ast.stmt]] = {}
        for statement, nodes in body:
            stored = (n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
            names = {n.id for n in stored}
            names |= {n.name for n in nodes if isinstance(n, _DEFINITIONS)}
            names.update(*(n.names for n in ast.walk(statement) if isinstance(n, ast.Global)))
            for each in sorted(names):
                self.bound.setdefault(each, []).append(statement)
        self.effects = [statement for statement, nodes in body if any(map(self._acts, nodes))]

    def _acts(self, node: ast.AST) -> bool:
        """Return whether a node does more than define a name of this module."""
        match node:
            case ast.Expr(value=value):
                return not isinstance(value, ast.Constant)
            case ast.Attribute() | ast.Subscript() | ast.Name(ctx=ast.Del()):
                return not isinstance(node.ctx, ast.Load)
            case ast.AugAssign(target=ast.Name(id=name)):
                return name in self.imports
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return not all(map(self._only_wraps, node.decorator_list))
        return isinstance(node, ast.Assert | ast.Raise)

    def _only_wraps(self, decorator: ast.expr) -> bool:
        """Return whether a decorator is Python's own; others may register what they decorate."""
        while isinstance(decorator, ast.Call | ast.Attribute):
            decorator = getattr(decorator, "func", None) or decorator.value
        name = getattr(decorator, "id", "")
        tops = {module.partition(".")[0] for module, _ in self.imports.get(name, ())}
        return name not in self.bound and tops <= sys.stdlib_module_names


def _outside(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, _INNER):
        for child in ast.iter_child_nodes(node):
            yield from _outside(child)


def _imports(nodes: Iterable[ast.AST], code: _Code, path: str) -> tuple[Origins, list[str]]:
    origins: Origins = {}
    needs: list[str] = []
    for node in (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)):
        module, where = getattr(node, "module", ""), f"{path}:{node.lineno}"
        if getattr(node, "level", 0):
            raise CodeError(f"{where}: a relative import; write out the package's name")
        for alias in node.names:
            if alias.name == "*" and code.has(module):
                raise CodeError(f"{where}: import * hides what is used; import it by name")
            if not module and code.has(alias.name) and alias.name not in code.files:
                raise CodeError(f"{where}: there is no {alias.name}; correct the name")
            name = alias.name if module or alias.asname else alias.name.partition(".")[0]
            origin = (module, name) if module else (name, "")
            origins.setdefault(alias.asname or name, []).append(origin)
            needs += [module, f"{module}.{alias.name}"] if module else [alias.name]
    return origins, needs


class _Reader:
    def __init__(self, code: _Code, tree: ast.AST, path: str, module: str = "") -> None:
        self.code, self.path, self.module = code, path, module
        self.imports, _ = _imports(ast.walk(tree), code, path)
        self.found: list[Target] = []

    def text(self, node: Any) -> str:
        match node:
            case list():
                return f"[{','.join(filter(None, map(self.text, node)))}]"
            case ast.Import() | ast.ImportFrom():
                return self._import(node)
            case ast.Expr(value=ast.Constant(value=str())):
                return ""
            case ast.Constant(value=str(value)):
                named = self.code.named.findall(value)
                pairs = [(module, name) for module, names in named for name in names.split(", ")]
                self.found += [t for pair in pairs for t in self._follow(*pair, node)]
                return ascii(self.code.named.sub(r":\2", value)) if value else ""
            case ast.Constant(value=value):
                return ascii(value)
            case ast.Name() | ast.Attribute() if means := self._means(node):
                self.found += means
                self._refuse(node, [name for m, name in means if not m and name in _BLIND])
                return f"<{' '.join(name for _, name in means)}>"
            case ast.Call(func=ast.Name() | ast.Attribute(), args=[first, *_]):
                called = [name for m, name in self._means(node.func) if not m and name in _BY_NAME]
                known = isinstance(first, ast.Constant) and not self.code.has(str(first.value))
                whole = any(t[1] == "*" for t in self._means(first))
                if whole or (set(called) == {_IMPORT} and not known):
                    self._refuse(node, called)
        if not isinstance(node, ast.AST):
            return ascii(node)
        fields = ((k, v) for k, v in ast.iter_fields(node) if k not in ("ctx", "type_comment"))
        written = (f"{k}={self.text(v)}" for k, v in fields if v is not None and v != [])
        return f"{type(node).__name__}({','.join(written)})"

    def _follow(self, module: str, name: str, node: Any) -> list[Target]:
        return self.code.follow(module, name, f"{self.path}:{node.lineno}")

    def _means(self, node: ast.expr) -> list[Target]:
        if isinstance(node, ast.Name):
            found = self.code.lookup(self.module, node.id) if self.module else []
            origins = self.imports.get(node.id, ())
            found += [t for origin in origins for t in self._follow(*origin, node)]
            loaded = isinstance(node.ctx, ast.Load) and node.id in _BLIND | _BY_NAME
            return sorted(set(found), key=lambda t: t[::-1]) or [("", node.id)] * loaded
        if not isinstance(node, ast.Attribute):
            return []
        whole = [t for t in self._means(node.value) if not t[0] or t[1] == "*"]
        places = [m if m else name for m, name in whole]
        return [t for place in places for t in self._follow(place, node.attr, node)]

    def _refuse(self, node: ast.expr, names: list[str]) -> None:
        if names and self.code.packages:
            what = f"{self.path}:{node.lineno}: {names[0]} hides what is used; name it, or write"
            raise CodeError(f"{what} it 'package.module:name' for pkgutil.resolve_name")

    def _import(self, node: ast.Import | ast.ImportFrom) -> str:
        origins, needs = _imports([node], self.code, self.path)
        for origin in itertools.chain(*origins.values()):
            self._follow(*origin, node)
        self.found += [(m, "") for m in needs if m in self.code.files]
        module = getattr(node, "module", "")
        foreign = [a for a in node.names if not self.code.has(module or a.name)]
        return f"import({module},{[(a.name, a.asname) for a in foreign]})" if foreign else ""
