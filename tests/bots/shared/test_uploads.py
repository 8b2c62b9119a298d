"""Files in messages of their own: recorded before they are seen, each there once, and all of them or none."""

from __future__ import annotations

from collections.abc import Sequence

from bots.shared.as_files import OutgoingFile
from bots.shared.caller import Refused
from bots.shared.reply import PostedMessages
from bots.shared.uploads import UploadedFiles, Uploads
from core import Json
from tests.bots.shared.test_reply import Place

ONE, TWO = OutgoingFile("answer.py", b"1"), OutgoingFile("table.csv", b"2")


class Shelf(Uploads):
    """Files as a platform keeps them, and what is recorded of them. Whatever happens is written down in `log`."""

    def __init__(self, *, refuses: str = "") -> None:
        self.shown: dict[str, str] = {}
        self.records: list[Json] = []
        self.log: list[str] = []
        self.files: UploadedFiles
        self._refuses = refuses

    async def upload(self, file: OutgoingFile) -> str:
        self.log.append(f"upload {file.name}")
        return f"F-{file.name}"

    async def show(self, uploaded: str, name: str, *, again: bool) -> Json:
        self.log.append(f"show {name}{' again' if again else ''}")
        assert {"file": uploaded, "name": name} in self.records, "it is not recorded yet"
        if name == self._refuses:
            raise Refused("no")
        self.shown[uploaded] = name
        return {"id": f"M-{name}"}

    async def remove(self, uploaded: str, message: Json | None) -> None:
        self.log.append(f"remove {uploaded}")
        self.shown.pop(uploaded, None)

    async def record(self) -> None:
        self.records = [dict(each) for each in self.files.recorded]


def files_on(shelf: Shelf, recorded: Sequence[Json] = ()) -> UploadedFiles:
    shelf.files = UploadedFiles(shelf, recorded, shelf.record)
    shelf.records = [*recorded]
    return shelf.files


async def test_a_file_is_recorded_before_anybody_sees_it_and_with_its_message_after_that() -> None:
    shelf = Shelf()
    assert await files_on(shelf).send([ONE], "an answer")
    assert shelf.records == [{"file": "F-answer.py", "name": "answer.py", "id": "M-answer.py"}]
    assert shelf.log == ["upload answer.py", "show answer.py"]


async def test_a_file_is_shown_once_whatever_of_it_was_recorded_before() -> None:
    shelf = Shelf()
    recorded: list[Json] = [{"file": "F-1", "name": ONE.name, "id": "M-1"}, {"file": "F-2", "name": TWO.name}]
    assert await files_on(shelf, recorded).send([ONE, TWO], "an answer")
    assert shelf.log == ["show table.csv again"]


async def test_where_one_file_is_refused_none_is_left() -> None:
    shelf = Shelf(refuses=TWO.name)
    assert not await files_on(shelf).send([ONE, TWO], "an answer")
    assert (shelf.shown, shelf.records) == ({}, [])


async def test_a_file_that_is_not_wanted_any_more_is_taken_away() -> None:
    shelf = Shelf()
    shelf.shown = {"F-1": "answer.py"}
    assert await files_on(shelf, [{"file": "F-1", "name": "answer.py", "id": "M-1"}]).send([], "an answer")
    assert (shelf.shown, shelf.records) == ({}, [])


async def test_without_uploads_no_file_is_taken() -> None:
    async def record() -> None:
        raise AssertionError("there is nothing to be recorded")

    assert not await UploadedFiles(None, (), record).send([ONE], "an answer")


async def test_what_is_recorded_of_a_file_is_no_message_of_the_answer() -> None:
    place, shelf, recorded = Place("One"), Shelf(), list[Sequence[Json]]()

    async def note(parts: Sequence[Json]) -> None:
        recorded.append([dict(each) for each in parts])

    file = {"file": "F-1", "name": "answer.py", "id": "M-1"}
    posted = PostedMessages(place, note, [{"id": "0"}, file], uploads=shelf)
    assert await posted.send([ONE])
    place.recorded = ["0"]
    await posted.finish(f"Two{' more' * 30}")
    assert len(place.read()) == 2
    assert recorded == [[{"id": "0"}, {"id": "1"}, file]]
    assert shelf.log == []
