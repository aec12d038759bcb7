"""Whether bytes are one JSON document, found out piece by piece: no value is ever built, so memory stays constant.

A parser that builds values needs up to 25 times the document's size (`[[],[],...`), and a deep document ends it.
"""

import codecs
import re
from collections.abc import Iterable
from typing import Final

# repetitions are possessive: nothing needs to be tried another way, and keeping what would be costs memory
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DIGITS: Final = 4300
"""Of an integer, where Python's own parser ends as well."""
_NUMBER: Final = re.compile(
    rf"-?(?:0|[1-9][0-9]{{0,{_DIGITS - 1}}})(?:\.[0-9]{{1,{_DIGITS}}})?(?:[eE][+-]?[0-9]{{1,{_DIGITS}}})?"
)
_NUMBERS: Final = re.compile(rf"(?:{_NUMBER.pattern}[ \t\n\r]*,[ \t\n\r]*)++")
_IN_NUMBER: Final = re.compile(r"[-+.0-9eE]*")
_TEXT: Final = re.compile(r'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+')
_LITERALS: Final = ("true", "false", "null")
_LONGEST_TAIL: Final = 4 * _DIGITS
_LONGEST_ESCAPE: Final = 6

# what may come next
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _COMMA_OR_END = range(6)


class _Problem(Exception):
    pass


def json_problem(pieces: Iterable[bytes], *, depth: int, values: int) -> str:
    """Why the pieces together are no JSON document (RFC 8259, UTF-8) that is nested at most `depth` levels and has at
    most `values` values and keys, not counting the numbers in lists; empty if they are. NaN and Infinity are no JSON,
    nor is a number with over 4,300 digits before or behind its point.
    """
    scan = _Scan(depth, values)
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0
    try:
        for piece in pieces:
            scan.feed(decoder.decode(piece))
            before += len(piece)
        decoder.decode(b"", final=True)
        scan.end()
    except UnicodeDecodeError:
        return f"is not UTF-8 after byte {before}"
    except _Problem as problem:
        return str(problem)
    return ""


class _Scan:
    def __init__(self, depth: int, values: int) -> None:
        self._depth = depth
        self._left = values
        self._most = values
        self._open: list[str] = []
        self._next = _VALUE
        self._in_string = False
        self._tail = ""
        self._passed = 0

    def feed(self, text: str, *, last: bool = False) -> None:
        text = self._tail + text
        at = 0
        while at < len(text):
            after = self._string(text, at) if self._in_string else self._token(text, at, last)
            if after < 0:
                break
            at = after
        self._tail = text[at:]
        self._passed += at
        if len(self._tail) > _LONGEST_TAIL:
            raise _Problem(f"is not JSON: a number of more than {_DIGITS} digits")

    def end(self) -> None:
        self.feed("", last=True)
        if self._left == self._most and not self._tail:
            raise _Problem("is empty")
        if self._tail or self._in_string or self._open or self._next is not _COMMA_OR_END:
            raise _Problem("is not JSON: it ends too early")

    def _token(self, text: str, at: int, last: bool) -> int:
        """Where the token at `at` ends; -1 if the text has only a part of it."""
        space = _SPACE.match(text, at)
        assert space is not None
        at = space.end()
        if at == len(text):
            return at
        mark, expected = text[at], self._next
        if expected in (_VALUE, _VALUE_OR_END) and mark not in '"[{]':
            return self._plain(text, at, last)
        match mark:
            case '"' if expected not in (_COLON, _COMMA_OR_END):
                self._count(1)
                self._in_string = True
            case "[" | "{" if expected in (_VALUE, _VALUE_OR_END):
                self._count(1)
                self._open.append(mark)
                if len(self._open) > self._depth:
                    raise _Problem(f"is nested deeper than {self._depth}")
                self._next = _VALUE_OR_END if mark == "[" else _KEY_OR_END
            case "]" if expected in (_VALUE_OR_END, _COMMA_OR_END) and self._inside("["):
                self._close()
            case "}" if expected in (_KEY_OR_END, _COMMA_OR_END) and self._inside("{"):
                self._close()
            case "," if expected == _COMMA_OR_END and self._open:
                self._next = _VALUE if self._open[-1] == "[" else _KEY
            case ":" if expected == _COLON:
                self._next = _VALUE
            case _:
                raise self._unexpected(at, mark)
        return at + 1

    def _string(self, text: str, at: int) -> int:
        matched = _TEXT.match(text, at)
        assert matched is not None
        end = matched.end()
        if end == len(text):
            return end
        if text[end] == '"':
            self._in_string = False
            key = self._next in (_KEY, _KEY_OR_END)
            self._next = _COLON if key else _COMMA_OR_END
            return end + 1
        if text[end] == "\\" and len(text) - end < _LONGEST_ESCAPE:
            return end if end > at else -1
        raise self._unexpected(end, text[end])

    def _plain(self, text: str, at: int, last: bool) -> int:
        """A number, or a whole run of them in a list, or a literal."""
        if self._inside("[") and (run := _NUMBERS.match(text, at)):
            self._next = _VALUE
            return run.end()
        for literal in _LITERALS:
            if text.startswith(literal, at):
                return self._ended(at + len(literal))
            if not last and literal.startswith(text[at:]):
                return -1
        within = _IN_NUMBER.match(text, at)
        assert within is not None
        if within.end() == len(text) and not last and within.end() > at:
            return -1
        number = _NUMBER.fullmatch(text, at, within.end())
        if number is None:
            raise self._unexpected(at, text[at])
        return self._ended(within.end())

    def _ended(self, at: int) -> int:
        self._count(1)
        self._next = _COMMA_OR_END
        return at

    def _close(self) -> None:
        self._open.pop()
        self._next = _COMMA_OR_END

    def _inside(self, bracket: str) -> bool:
        return bool(self._open) and self._open[-1] == bracket

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise _Problem(f"has more than {self._most} values")

    def _unexpected(self, at: int, mark: str) -> _Problem:
        return _Problem(f"is not JSON: {mark!r} at character {self._passed + at} is not expected there")
