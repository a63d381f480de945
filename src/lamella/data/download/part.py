"""A file that is being fetched, as far as it has come, with a note beside it about where it comes from."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Which file a part is of: the address, and all that tells one version of it from another."""

    url: str
    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:
        """For `If-Range`: a weak ETag promises too little."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Part:
    """The file as far as it has come, with a note beside it about where it came from."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")

    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def source(self, url: str) -> Source | None:
        """What the part is of; None where that is not known well enough to go on with it."""
        try:
            source = Source(**json.loads(self.note.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        known = source.url == url and (source.validator or source.size is not None)
        return source if known and self.bytes() else None

    def begin(self, source: Source) -> None:
        """Starts anew. The old part goes first: it must never stand beside another file's note."""
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps(asdict(source)))

    def finish(self) -> None:
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self.note.unlink(missing_ok=True)
