"""Printers: an f-string becomes calls of `begin`, `write`, the number formatters and `end`."""
from __future__ import annotations

import ast
import re
from abc import abstractmethod
from typing import Any, cast

from .. import ir, types as t
from ..format import LONGEST, PADDING, formatters
from ..functions import Function, Printer
from ..integers import i64
from ..ir import Effect, Expr
from .core import Known
from .expressions import Expressions

SPECIFICATION = re.compile(r"(#?)(0?)(\d*)([xd]?)")
I64 = t.IntType(i64)


class Text(Expressions):
    """Expansion of `printk(f"...")`."""

    @abstractmethod
    def direct(self, function: Function, receiver: list[Expr], node: ast.Call) -> Expr:
        """A call of a known function; `Calls` has it."""

    def printed(self, printer: Printer, node: ast.Call) -> Expr:
        if len(node.args) != 1 or node.keywords or not isinstance(node.args[0], (ast.JoinedStr, ast.Constant)):
            self.fail(node, "a printer takes one text: \"...\" or f\"...\"")
        if printer.on is None:
            self._line(printer, node)
        else:
            enabled = self.frontend.callee(printer.on, self.site(node))
            test = self.atom(ir.Call(enabled.result, enabled, [], self.site(node)), self.site(node))
            with self.buffer() as body:
                self._line(printer, node)
            self.emit(ir.If(self.site(node), test, body, []))
        return ir.Const(t.VOID, None)

    def _line(self, printer: Printer, node: ast.Call) -> None:
        """All of one call."""
        parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
        fields = [ast.copy_location(p, node.args[0]) for p in parts if isinstance(p, ast.FormattedValue)]
        values = self.operands([lambda f=f: self.value(f.value) for f in fields],   # type: ignore[misc]
                               self.site(node), Effect.WRITE | Effect.PANIC)
        self.invoke(printer.begin, [], node)
        pending, rest = b"", iter(values)
        for part in parts:
            if isinstance(part, ast.Constant):
                if not isinstance(part.value, str):
                    self.fail(part, "a printer takes a text")
                pending += part.value.encode()
                continue
            pending = self._field(printer, cast(ast.FormattedValue, part), next(rest), pending)
        self._literal(printer, pending, node)
        self.invoke(printer.end, [], node)

    def invoke(self, function: Any, args: list[Expr], node: ast.AST) -> None:
        made = self.frontend.callee(function, self.site(node))
        self.emit(ir.Eval(self.site(node), ir.Call(made.result, made, args, self.site(node))))

    def _literal(self, printer: Printer, text: bytes, node: ast.AST) -> bytes:
        if text:
            self.invoke(printer.write, [ir.BytesConst(t.BYTES, text)], node)
        return b""

    def _field(self, printer: Printer, node: ast.FormattedValue, e: Expr, pending: bytes) -> bytes:
        """Emit one replacement field; returns the literal text still to be written."""
        if node.conversion != -1:
            self.fail(node, "!r, !s and !a are not in the language")
        prefix, zero, width, letter = self._specification(node)
        if isinstance(e.type, t.LiteralType):
            number = self.literal(e, node).value
            return pending + format(number, f"{prefix}{zero}{width}{letter}").encode()
        if isinstance(e, Known) and e.type == t.TEXT:
            return pending + str(e.value).encode()
        if isinstance(e.type, t.IntType):
            return self._integer(printer, e, prefix, zero, width, letter, pending, node)
        if isinstance(e.type, t.BitsType) and letter == "x":
            raw = ir.Convert(e.type.base, e, "keep", self.site(node))
            return self._integer(printer, raw, prefix, zero, width, letter, pending, node)
        if letter or width:
            self.fail(node, f"{e.type} takes no format specification")
        return self._named(printer, e, pending, node)

    def _specification(self, node: ast.FormattedValue) -> tuple[str, str, str, str]:
        text = ""
        if node.format_spec is not None:
            parts = cast(ast.JoinedStr, node.format_spec).values
            if not all(isinstance(p, ast.Constant) for p in parts):
                self.fail(node, "a format specification is constant")
            text = "".join(str(cast(ast.Constant, p).value) for p in parts)
        match = SPECIFICATION.fullmatch(text)
        if match is None or (match[3] and int(match[3]) >= LONGEST) or (match[1] and match[4] != "x"):
            self.fail(node, f"{text!r} is no format of the language", "d, x, #x, with a width and 0: 08x, 5d, #10x")
        return match[1], match[2], match[3], match[4]

    def _integer(self, printer: Printer, e: Expr, prefix: str, zero: str, width: str, letter: str, pending: bytes,
                 node: ast.FormattedValue) -> bytes:
        kind = cast(t.IntType, e.type)
        if kind.is_address and not letter:
            prefix, letter = "#", "x"
        columns = int(width or 0)
        if prefix:
            if columns and not zero:
                self.fail(node, "a width with # wants a 0 before it", "#010x")
            pending, columns = pending + b"0x", max(0, columns - 2)
        self._literal(printer, pending, node)
        put = formatters(printer.write)
        layout = [ir.Const(t.U32, columns), ir.Const(t.U8, PADDING[bool(zero)])]
        if letter == "x" or not kind.signed:
            if kind.signed:
                self.fail(node, "a signed integer prints in decimal", "truncate(u64, x) for its bits")
            wide = ir.Convert(t.U64, e, "keep", self.site(node)) if e.type != t.U64 else e
            if letter == "x":
                self.invoke(put.hexadecimal, [wide, *layout], node)
            else:
                self.invoke(put.decimal, [wide, *layout, ir.Const(t.BOOL, False)], node)
        else:
            wide = ir.Convert(I64, e, "keep", self.site(node)) if e.type != I64 else e
            self.invoke(put.signed, [wide, *layout], node)
        return b""

    def _named(self, printer: Printer, e: Expr, pending: bytes, node: ast.FormattedValue) -> bytes:
        site = self.site(node)
        if e.type == t.BOOL:
            text: Expr = ir.Select(t.BYTES, e, ir.BytesConst(t.BYTES, b"True"), ir.BytesConst(t.BYTES, b"False"))
        elif isinstance(e.type, t.EnumType):
            text = ir.Intrinsic(t.BYTES, "enum_name", [e], site)
        elif isinstance(e.type, t.BitsType):
            return self._bits(printer, e, pending, node)
        elif isinstance(e.type, (t.SliceType, t.ArrayType, t.TableType)) and e.type.element == t.U8:
            text = self.coerce(e, t.BYTES, node)
        else:
            self.fail(node, f"{e.type} has no text", "print its fields")
        self._literal(printer, pending, node)
        self.invoke(printer.write, [text], node)
        return b""

    def _bits(self, printer: Printer, e: Expr, pending: bytes, node: ast.FormattedValue) -> bytes:
        kind = cast(t.BitsType, e.type)
        e = self.atom(e, self.site(node))
        pending += kind.name.encode() + b"("
        for i, (name, field) in enumerate(kind.cls.fields.items()):
            places: list[Expr] = [ir.Const(t.U32, field.msb), ir.Const(t.U32, field.lsb)]
            value = ir.Intrinsic(t.bits_field_type(kind.cls, field), "bits_get", [e, *places], self.site(node))
            pending += (b", " if i else b"") + name.encode() + b"="
            if isinstance(value.type, t.IntType):
                pending = self._integer(printer, value, "#", "", "", "x", pending, node)
            else:
                pending = self._named(printer, value, pending, node)
        return pending + b")"
