"""The mypy plugin of the language: integer literals adapt to every width, and no two widths mix.

Literals are `int` to mypy, so `int` is made promotable to each integer type (and `bytes` to `View[u8]`). The rest gives
`len`, `range` and `enumerate` their widths, structs and Bits their constructors, addresses their base integer.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mypy.nodes import (ARG_NAMED_OPT, ARG_OPT, ARG_POS, MDEF, Argument, AssignmentStmt, CallExpr, ClassDef, Decorator, Expression,
                        FuncDef, IfStmt, MypyFile, NameExpr, OverloadedFuncDef, RefExpr, Statement, SymbolTableNode, TempNode,
                        TypeInfo, Var)
from mypy.plugin import ClassDefContext, FunctionContext, MethodContext, MethodSigContext, Plugin
from mypy.plugins.common import add_method_to_class
from mypy.types import (AnyType, CallableType, FunctionLike, Instance, NoneType, TupleType, Type, TypeOfAny, UnionType,
                        get_proper_type)
from mypy.typestate import type_state

HOME = "freestanding"
PLAIN = ("u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize")
SAME_TYPE = {f"{HOME}.{mode}_{op}" for mode in ("wrapping", "saturating", "checked") for op in ("add", "sub", "mul")} | {
    f"{HOME}.write_once", "builtins.min", "builtins.max"}
KEY = "freestanding"                                # of what is remembered in a class's metadata


def is_a(info: TypeInfo, name: str) -> bool:
    return info.has_base(f"{HOME}.{name}")


class Language(Plugin):
    """Every hook look-up first sees to the promotions: modules may come from mypy's cache without any class hook."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._scanned: set[str] = set()
        self._promoted: set[str] = set()
        self._functions: dict[str, set[int]] = {}

    # ---- promotions -------------------------------------------------------------------------------------------------

    def _promote(self) -> None:
        modules = self._modules
        if modules is None or len(modules) == len(self._scanned):
            return
        if HOME not in modules or "builtins" not in modules:
            return
        for name in [n for n in modules if n not in self._scanned]:
            self._scan(name, modules[name])

    def _scan(self, name: str, module: MypyFile) -> None:
        if name == HOME:
            if not all(self._is_placed(module, p) for p in (*PLAIN, "View")):
                return                              # still being read
            self._add("bytes", Instance(self._type_info("View"), [Instance(self._type_info("u8"), [])]))
        self._scanned.add(name)
        for entry in list(module.names.values()):
            if isinstance(entry.node, TypeInfo) and entry.node.module_name == name:
                self.promote_integer(entry.node)

    @staticmethod
    def _is_placed(module: MypyFile, name: str) -> bool:
        return name in module.names and isinstance(info := module.names[name].node, TypeInfo) and bool(info.mro)

    def promote_integer(self, info: TypeInfo) -> None:
        if info.fullname not in self._promoted and is_a(info, "Integer"):
            self._promoted.add(info.fullname)
            self._add("int", Instance(info, []))
            if (whole := self.lookup_fully_qualified(f"{HOME}._Whole")) is not None and isinstance(whole.node, TypeInfo):
                info.alt_promote = Instance(whole.node, [])     # `x: u32 = 0` must not narrow x to int

    def _add(self, builtin: str, target: Instance) -> None:
        entry = self.lookup_fully_qualified(f"builtins.{builtin}")
        assert entry is not None and isinstance(entry.node, TypeInfo)
        if not any(isinstance(p, Instance) and p.type.fullname == target.type.fullname for p in entry.node._promote):
            entry.node._promote.append(target)
            type_state.reset_all_subtype_caches()

    def _type_info(self, name: str) -> TypeInfo:
        entry = self.lookup_fully_qualified(f"{HOME}.{name}")
        assert entry is not None and isinstance(entry.node, TypeInfo)
        return entry.node

    # ---- hooks ------------------------------------------------------------------------------------------------------

    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        self._promote()
        return []

    def get_type_analyze_hook(self, fullname: str) -> None:
        self._promote()

    def get_attribute_hook(self, fullname: str) -> None:
        self._promote()

    def get_function_signature_hook(self, fullname: str) -> None:
        self._promote()

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        self._promote()
        if fullname in SAME_TYPE:
            return same_type
        return {"builtins.len": self.length, "builtins.range": self.range, "builtins.enumerate": self.enumerate}.get(fullname)

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        self._promote()
        return self.address_operator if fullname.endswith(("__add__", "__sub__")) else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        self._promote()
        return None

    def get_customize_class_mro_hook(self, fullname: str) -> None:
        self._promote()

    def get_base_class_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        self._promote()
        if fullname == f"{HOME}.Struct":
            return struct_class
        if fullname == f"{HOME}.Bits":
            return self.bits_class
        entry = self.lookup_fully_qualified(fullname)
        if entry is not None and isinstance(entry.node, TypeInfo) and is_a(entry.node, "Integer"):
            return self.integer_class
        return None

    # ---- widths of built-in functions -------------------------------------------------------------------------------

    def length(self, ctx: FunctionContext) -> Type:
        kind = get_proper_type(ctx.arg_types[0][0]) if ctx.arg_types and ctx.arg_types[0] else None
        if isinstance(kind, Instance) and is_a(kind.type, "View") and self._in_language(ctx):
            return Instance(self._type_info("usize"), [])
        return ctx.default_return_type

    def range(self, ctx: FunctionContext) -> Type:
        kind = one_type(ctx)
        if kind is None and self._in_language(ctx):
            kind = Instance(self._type_info("usize"), [])
        return Instance(self._type_info("_Range"), [kind]) if kind is not None else ctx.default_return_type

    def _in_language(self, ctx: FunctionContext) -> bool:
        """Whether the place stands in a function of the language, and not in import-time Python."""
        checker: Any = ctx.api
        if checker.tree.fullname not in self._functions:
            self._functions[checker.tree.fullname] = decorated(checker.tree.defs)
        here = checker.scope.current_function()
        return here is not None and here.line in self._functions[checker.tree.fullname]

    def enumerate(self, ctx: FunctionContext) -> Type:
        kind = get_proper_type(ctx.arg_types[0][0])
        made = get_proper_type(ctx.default_return_type)
        if not (isinstance(kind, Instance) and is_a(kind.type, "View") and isinstance(made, Instance) and self._in_language(ctx)):
            return ctx.default_return_type
        pair = TupleType([Instance(self._type_info("usize"), []), made.args[0]],
                         ctx.api.named_generic_type("builtins.tuple", [AnyType(TypeOfAny.special_form)]))
        return ctx.api.named_generic_type("typing.Iterator", [pair])

    # ---- addresses and distinct integers ----------------------------------------------------------------------------

    def integer_class(self, ctx: ClassDefContext) -> None:
        info = ctx.cls.info
        base = keyword_type(ctx)
        for parent in info.mro[1:]:
            base = base or parent.metadata.get(KEY, {}).get("base")
        info.metadata[KEY] = {"base": base or f"{HOME}.usize"}
        self.promote_integer(info)

    def address_operator(self, ctx: MethodSigContext) -> FunctionLike:
        signature, owner = ctx.default_signature, get_proper_type(ctx.type)
        if not (isinstance(owner, Instance) and is_a(owner.type, "Address") and isinstance(signature, CallableType)):
            return signature
        base = Instance(self._type_info(str(owner.type.metadata[KEY]["base"]).rpartition(".")[2]), [])
        result = base if isinstance(get_proper_type(signature.ret_type), AnyType) else signature.ret_type
        return signature.copy_modified(arg_types=[_put_base(t, base) for t in signature.arg_types], ret_type=result)

    # ---- Bits -------------------------------------------------------------------------------------------------------

    def bits_class(self, ctx: ClassDefContext) -> None:
        arguments = []
        for statement in ctx.cls.defs.body:
            if isinstance(statement, AssignmentStmt) and isinstance(target := statement.lvalues[0], NameExpr) and statement.type is not None:
                kind = ctx.api.anal_type(statement.type) if not isinstance(statement.type, Instance) else statement.type
                if kind is None:
                    ctx.api.defer()
                    return
                _freeze(ctx.cls.info, target.name)
                arguments.append(Argument(Var(target.name, kind), kind, None, ARG_NAMED_OPT))
        add_method_to_class(ctx.api, ctx.cls, "__init__", arguments, NoneType())
        add_method_to_class(ctx.api, ctx.cls, "replace", arguments, Instance(ctx.cls.info, []))
        width = (keyword_type(ctx) or f"{HOME}.u32").rpartition(".")[2]
        _add_property(ctx.cls.info, "raw", Instance(self._type_info(width), []))


def _put_base(kind: Type, base: Instance) -> Type:
    proper = get_proper_type(kind)
    if isinstance(proper, Instance) and proper.type.fullname == f"{HOME}._Plain":
        return base
    if isinstance(proper, UnionType):
        return UnionType.make_union([_put_base(i, base) for i in proper.items])
    return kind


def keyword_type(ctx: ClassDefContext) -> str | None:
    """The full name of what `type=` says in a class statement."""
    said: Expression | None = ctx.cls.keywords.get("type")
    return said.fullname if isinstance(said, RefExpr) else None


def _freeze(info: TypeInfo, name: str) -> None:
    entry = info.names.get(name)
    if entry is not None and isinstance(entry.node, Var):
        entry.node.is_property = True


def _add_property(info: TypeInfo, name: str, kind: Type) -> None:
    var = Var(name, kind)
    var.info, var.is_property = info, True
    var._fullname = f"{info.fullname}.{name}"
    info.names[name] = SymbolTableNode(MDEF, var, plugin_generated=True)


def decorated(statements: list[Statement]) -> set[int]:
    """The lines of the functions that carry `@fn` or its kin."""
    lines: set[int] = set()
    for node in statements:
        match node:
            case Decorator():
                if any(map(_is_door, node.original_decorators)):
                    lines.add(node.func.line)
                lines |= decorated(node.func.body.body)
            case FuncDef():
                lines |= decorated(node.body.body)
            case OverloadedFuncDef():
                lines |= decorated(list(node.items))
            case ClassDef():
                lines |= decorated(node.defs.body)
            case IfStmt():
                for block in (*node.body, *([node.else_body] if node.else_body else [])):
                    lines |= decorated(block.body)
    return lines


def _is_door(decorator: Expression) -> bool:
    name = decorator.callee if isinstance(decorator, CallExpr) else decorator
    return isinstance(name, RefExpr) and name.fullname in (f"{HOME}.fn", f"{HOME}.export")


# ---- structs --------------------------------------------------------------------------------------------------------------

def struct_class(ctx: ClassDefContext) -> None:
    """`__init__` with the fields in order; unlike a dataclass, one without a default may follow one that has it."""
    for base in ctx.cls.info.mro:
        base.dataclass_transform_spec = None        # ours takes its place
    frozen = isinstance(said := ctx.cls.keywords.get("frozen"), NameExpr) and said.fullname == "builtins.True"
    arguments = []
    for statement in ctx.cls.defs.body:
        if not (isinstance(statement, AssignmentStmt) and isinstance(target := statement.lvalues[0], NameExpr)):
            continue
        entry = ctx.cls.info.names.get(target.name)
        if statement.type is None or entry is None or not isinstance(entry.node, Var) or entry.node.is_classvar:
            continue
        kind = entry.node.type
        if kind is None:
            ctx.api.defer()
            return
        given = not statement.new_syntax or not _no_value(statement)
        arguments.append(Argument(entry.node, kind, None, ARG_OPT if given else ARG_POS))
        if frozen:
            _freeze(ctx.cls.info, target.name)
    add_method_to_class(ctx.api, ctx.cls, "__init__", arguments, NoneType())


def _no_value(statement: AssignmentStmt) -> bool:
    return isinstance(statement.rvalue, TempNode) and statement.rvalue.no_rhs


# ---- one type for both operands -------------------------------------------------------------------------------------------

def _integers(ctx: FunctionContext) -> list[Instance]:
    given = [get_proper_type(kind) for kinds in ctx.arg_types for kind in kinds]
    return [k for k in given if isinstance(k, Instance) and is_a(k.type, "Integer")]


def one_type(ctx: FunctionContext) -> Instance | None:
    """The integer type of all arguments that have one; an error when there are two."""
    widths = _integers(ctx)
    for other in widths[1:]:
        if other.type is not widths[0].type:
            ctx.api.fail(f"operands of two types: {widths[0].type.name} and {other.type.name}", ctx.context)
    return widths[0] if widths else None


def same_type(ctx: FunctionContext) -> Type:
    one_type(ctx)
    return ctx.default_return_type


def plugin(version: str) -> type[Plugin]:
    return Language
