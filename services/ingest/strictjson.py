"""Strict reading of foreign JSON: what other readers let pass silently is refused here.

Repeated members, NaN and infinities, numbers out of range, nesting without end and texts that are not UTF-8 are refused.
"""

import json
import re
from typing import NoReturn

from services.ingest.refusals import RefusalReason, RefusedError

MAX_BODY = 1024 * 1024  # bytes of one request, and of one line of a file
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}")


def parse_json(body: bytes) -> object:
    """The value of a JSON text. Raises RefusedError."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(
            RefusalReason.INVALID_TEXT, "", f"内容不是 UTF-8（第 {error.start} 字节起），请以 UTF-8 编码发送"
        ) from error
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        detail = f"不是合法的 JSON（第 {error.lineno} 行第 {error.colno} 列附近），请用 JSON 库生成"
        raise RefusedError(RefusalReason.INVALID_JSON, "", detail) from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise RefusedError(RefusalReason.INVALID_JSON, "", "数字过长，请核对") from error
    return value


def _too_deep() -> RefusedError:
    return RefusedError(RefusalReason.INVALID_JSON, "", "嵌套过深，请只发送约定的字段")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        shown = f" {name}" if _PLAIN_NAME.fullmatch(name) else ""  # anything else may be personal
        raise RefusedError(RefusalReason.DUPLICATE_MEMBER, "", f"JSON 里有成员{shown} 出现了两次，请只保留一个")
    return members


def _constant(name: str) -> NoReturn:
    raise RefusedError(RefusalReason.INVALID_JSON, "", f"{name} 不是 JSON 的数，请改用数字或 null")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise RefusedError(RefusalReason.INVALID_JSON, "", "数字超出范围，请核对")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
