"""JSON of any size, value by value and in bounds: what a stranger's file holds takes no more memory than they say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO

BYTES_AT_ONCE = 1 << 16
LONGEST_TOKEN = 32 << 20  # bytes; of a string, or of blanks
MOST_PARTS = 1_000_000  # of one value
MOST_CHARACTERS = 32 << 20
DEEPEST = 100
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Broken(Exception):
    """A file that cannot be read any further: where, and why."""

    def __init__(self, where: str, why: str) -> None:
        self.where = where
        self.why = why
        super().__init__(f"{where}: {why}")


class TooLarge:
    """Stands for a value that passes the bounds."""


TOO_LARGE = TooLarge()
Event = tuple[str, Any]
Context = dict[str, Any]


def json_values(
    file: BinaryIO, name: str, *, streamed: Collection[str] = ("data", "messages")
) -> Iterator[tuple[Context, Any]]:
    """The values of a file, one after the other, each with the fields of the object around it that were read so far.

    They are the elements of a list, or of the lists in an object that are `streamed`; any other value is one itself.
    Numbers are as in JSON, but for what no float holds. Raises Broken, which says where in the file `name`.
    """
    import ijson  # which most starts do not need

    watched = _Watched(file, name)
    events = watched.events(
        lambda source: ijson.basic_parse(source, use_float=True, multiple_values=True, buf_size=BYTES_AT_ONCE)
    )
    try:
        for event, value in events:
            if event == "start_array":
                yield from (({}, each) for each in _elements(events))
            elif event == "start_map":
                yield from _fields(events, streamed)
            else:
                yield {}, value
    except ijson.IncompleteJSONError as error:
        why = "it ends in the middle" if "premature EOF" in str(error) else "it is no JSON from there on"
        raise Broken(watched.where, why) from None
    except (ijson.JSONError, UnicodeDecodeError, ValueError):
        raise Broken(watched.where, "it is no JSON from there on") from None


class _Watched:
    """A file that is read on only while what is read becomes something."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._read = 0
        self._quiet = 0  # bytes that nothing came of

    @property
    def where(self) -> str:
        """About how far it was read."""
        return f"{self._name}, before byte {self._read:,}"

    def read(self, size: int) -> bytes:
        """The next bytes. Raises Broken."""
        if self._quiet > LONGEST_TOKEN:
            raise Broken(self.where, "a text in it is too long")
        is_first = not self._read
        try:
            data = self._file.read(size)
        except Exception as error:  # of a damaged archive, in whatever words its library has
            raise Broken(self.where, f"it cannot be read ({type(error).__name__})") from None
        self._read += len(data)
        self._quiet += len(data)
        return data.removeprefix(BYTE_ORDER_MARK) if is_first and size else data

    def events(self, parse: Callable[[_Watched], Iterator[Event]]) -> Iterator[Event]:
        for event in parse(self):
            self._quiet = 0
            yield event


def _fields(events: Iterator[Event], streamed: Collection[str]) -> Iterator[tuple[Context, Any]]:
    around: Context = {}
    is_streamed = False
    left = [MOST_PARTS, MOST_CHARACTERS]
    for event, key in events:
        if event == "end_map":
            break
        event, value = next(events)
        if key in streamed and event == "start_array":
            is_streamed = True
            yield from ((around, each) for each in _elements(events))
        else:
            built = _built(event, value, events, left)
            around[key] = None if built is TOO_LARGE else built
    if not is_streamed:
        yield {}, around if min(left) >= 0 else TOO_LARGE


def _elements(events: Iterator[Event]) -> Iterator[Any]:
    for event, value in events:
        if event == "end_array":
            return
        yield _built(event, value, events, [MOST_PARTS, MOST_CHARACTERS])


def _built(event: str, value: Any, events: Iterator[Event], left: list[int]) -> Any:
    """The value that begins with an event. TOO_LARGE where it passes what is `left`: parts, and characters."""
    top: list[Any] = []
    opened: list[Any] = [top]
    keys = [""]
    depth = 0
    while True:
        left[0] -= 1
        if event == "string" or event == "map_key":
            left[1] -= len(value)
        if left[0] < 0 or left[1] < 0 or depth > DEEPEST:
            left[0] = -1
            top = [TOO_LARGE]
            opened.clear()  # from here on nothing is kept
        if event == "map_key":
            if opened:
                keys[-1] = value
        elif event == "end_map" or event == "end_array":
            depth -= 1
            if opened:
                opened.pop()
                keys.pop()
        else:
            is_opening = event == "start_map" or event == "start_array"
            depth += is_opening
            if opened:
                new: Any = {} if event == "start_map" else [] if event == "start_array" else value
                if isinstance(opened[-1], dict):
                    opened[-1][keys[-1]] = new
                else:
                    opened[-1].append(new)
                if is_opening:
                    opened.append(new)
                    keys.append("")
        if not depth:
            return top[0]
        event, value = next(events)
