"""Find out what a pickle would allocate, by reading its instructions without running them.

``torch.load(weights_only=True)`` keeps code out. It does not keep a file of 100 bytes from asking for 100 GB.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import torch

from .errors import CheckpointError

#: Bytes that any checkpoint may ask for, however small its file is.
ALWAYS_ALLOWED = 2**26
#: Most instructions of a pickle. A training checkpoint of ViT-H has about 100 thousand.
MOST_INSTRUCTIONS = 5_000_000
#: Most numbers among the arguments of one call.
MOST_ARGUMENTS = 10_000
#: Bytes of the largest element of a tensor or array (complex128).
LARGEST_ELEMENT = 16
#: Functions whose numbers describe a view of a storage; nothing is allocated for them.
VIEWS = ('torch._utils._rebuild_tensor', 'torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter')
#: Calls that no checkpoint of ours or of MMSegmentation needs, and that allocate what their arguments say.
ALLOCATING = re.compile(
    r'builtins\.bytearray|torch\.(storage\.)?\w*(Tensor|Storage)|torch\._utils\._rebuild_qtensor|numpy\.ndarray'
)
RECONSTRUCT = re.compile(r'numpy\.(_core|core)\.multiarray\._reconstruct')
#: numpy's names of numbers and booleans; text and raw bytes ('U9', 'V8000000000') have a size of their own.
PLAIN_DTYPE = re.compile(r'[<>|=]?[biufc?]\d{0,2}')


@dataclass(frozen=True)
class Global:
    """A class or function that a pickle names, as 'module.name'."""

    name: str


_MARK = object()
_UNKNOWN = None


def scan_pickle(file: IO[bytes], limit: int, storage_bytes: Callable[[object], int] | None = None) -> None:
    """Check one pickle, up to its end, for calls and storages that allocate more than the file can hold.

    Args:
        file: At the start of a pickle; it is left behind the pickle's end.
        limit: Bytes that the content may take in memory: the size of the file.
        storage_bytes: Returns the size in bytes of the record that holds a storage, by the storage's key; None for
            files without records.

    Raises:
        CheckpointError: a call or a storage asks for more than `limit`, or there are too many instructions. The caller
            adds the name of the file.
        ValueError: this is not a pickle, or it is damaged.
    """
    for kind, value in _calls(file):
        if kind == 'storage':
            _check_storage(value, limit, storage_bytes)
        else:
            _check_call(*value, limit=max(limit, ALWAYS_ALLOWED))


def _check_call(function: Any, arguments: Any, limit: int) -> None:
    name = function.name if isinstance(function, Global) else 'an object'
    if not isinstance(arguments, tuple):
        raise CheckpointError(f'the arguments of a call of {name} are not a tuple')
    if name == 'torch._tensor._rebuild_from_type_v2' and len(arguments) == 4:
        _check_call(arguments[0], arguments[2], limit)
        return
    if name in VIEWS:
        return
    if ALLOCATING.fullmatch(name):
        raise CheckpointError(f'it calls {name}{_listed(arguments)}, which allocates memory of any size')
    if RECONSTRUCT.fullmatch(name) and arguments[1:2] != ((0,),):
        raise CheckpointError(f'it calls {name}{_listed(arguments)}; a pickled array always starts with shape (0,)')
    if name == 'numpy.dtype' and not (isinstance(arguments[0], str) and PLAIN_DTYPE.fullmatch(arguments[0])):
        raise CheckpointError(f'it holds values of type {name}{_listed(arguments)}, expected numbers')
    amount = _product(arguments) * LARGEST_ELEMENT
    if amount > limit:
        raise CheckpointError(f'a call of {name} asks for up to {amount} bytes; the file can hold {limit}')


def _check_storage(parts: Any, limit: int, storage_bytes: Callable[[object], int] | None) -> None:
    if not isinstance(parts, tuple) or len(parts) < 5:
        raise CheckpointError('a reference in its pickle is not one to a storage')
    kind, key, number = parts[1], parts[2], parts[4]
    if not isinstance(number, int) or number < 0:
        raise CheckpointError(f'storage {key!r} has {number!r} elements, expected a number')
    amount = number * _element_size(kind)
    held = limit if storage_bytes is None else storage_bytes(key)
    if amount > held:
        raise CheckpointError(f'storage {key!r} asks for {amount} bytes, but the file holds {held}')


def _element_size(kind: Any) -> int:
    name = kind.name.rsplit('.', 1)[-1] if isinstance(kind, Global) else ''
    if name == 'UntypedStorage':
        return 1
    try:
        return torch.serialization.StorageType(name).dtype.itemsize
    except (KeyError, AttributeError):
        return LARGEST_ELEMENT


def _listed(arguments: tuple) -> str:
    text = repr(tuple(item.name if isinstance(item, Global) else item for item in arguments[:3]))
    return text if len(text) < 100 else f'{text[:100]}...'


def _product(arguments: tuple) -> int:
    """Multiply all whole numbers among arguments, also those in tuples; 0 where there are none."""
    product, pending, seen = 0, list(arguments), 0
    while pending:
        item = pending.pop()
        if isinstance(item, tuple):
            seen += len(item)
            if seen > MOST_ARGUMENTS:
                raise CheckpointError(f'a call in its pickle has more than {MOST_ARGUMENTS} arguments')
            pending.extend(item)
        elif isinstance(item, int):
            product = max(1, product) * max(1, abs(item))
    return product


def _calls(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Run a pickle on symbols. Yield ``('call', (function, arguments))`` and ``('storage', parts)``.

    Numbers, text, tuples and names of globals are followed; everything else is unknown.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MOST_INSTRUCTIONS:
            raise CheckpointError(f'its pickle has more than {MOST_INSTRUCTIONS} instructions')
        try:
            if opcode.name in ('BINGET', 'LONG_BINGET', 'GET'):
                stack.append(memo[int(argument or 0)])
            elif opcode.name in ('BINPUT', 'LONG_BINPUT', 'PUT'):
                memo[int(argument or 0)] = stack[-1]
            elif opcode.name == 'MEMOIZE':
                memo[len(memo)] = stack[-1]
            elif opcode.name == 'DUP':
                stack.append(stack[-1])
            elif opcode.stack_before:
                yield from _apply(stack, opcode)
            elif opcode.stack_after:
                stack.append(_value(opcode.name, argument))
        except (IndexError, KeyError) as error:
            raise ValueError(f'damaged pickle at instruction {count} ({opcode.name})') from error


def _value(opcode: str, argument: Any) -> Any:
    """Return what an instruction that takes nothing puts on the stack."""
    if opcode == 'MARK':
        return _MARK
    if opcode == 'EMPTY_TUPLE':
        return ()
    if opcode == 'GLOBAL':
        return Global(argument.replace(' ', '.', 1).replace('__builtin__.', 'builtins.'))
    return argument if isinstance(argument, (int, str)) else _UNKNOWN


def _apply(stack: list[Any], opcode: Any) -> Iterator[tuple[str, Any]]:
    """Apply an instruction that takes values from the stack."""
    before = [value.name for value in opcode.stack_before]
    taken: list[Any] = []
    if 'mark' in before:
        while (item := stack.pop()) is not _MARK:
            taken.append(item)
        taken.reverse()
        before = before[: before.index('mark')]
    taken = [stack.pop() for _ in before][::-1] + taken
    if _MARK in taken:
        raise IndexError('a mark in place of a value')
    if opcode.name.startswith('TUPLE'):
        stack.append(tuple(taken))
    elif opcode.name == 'STACK_GLOBAL':
        stack.append(Global('.'.join(map(str, taken))))
    elif opcode.name in ('REDUCE', 'NEWOBJ', 'NEWOBJ_EX'):
        yield 'call', (taken[0], taken[1])
        size = isinstance(taken[0], Global) and taken[0].name == 'torch.Size'
        stack.append(taken[1] if size else _UNKNOWN)
    elif opcode.name == 'BINPERSID':
        yield 'storage', taken[0]
        stack.append(_UNKNOWN)
    else:
        stack.extend(_UNKNOWN for _ in opcode.stack_after)
