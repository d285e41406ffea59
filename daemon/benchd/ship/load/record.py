"""Files: samples as they come, the result at the end, each either whole or not there."""

import gzip
import json
import os
import shutil
from typing import IO, Any, Dict, Optional

SAMPLES = "samples.jsonl"
encode = json.JSONEncoder(separators=(",", ":")).encode


def write_whole(path: str, text: str) -> None:
    """Write a file so that nobody ever sees half of it, not even after a power cut."""
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)


class Samples:
    """Appends a line for each request; a killed job leaves what it had."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, SAMPLES)
        self._file: Optional[IO[str]] = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - closed by close

    def add(self, line: Dict[str, Any]) -> None:
        """Write one line, buffered."""
        self.write(encode(line))

    def write(self, text: str) -> None:
        """Write one line that is text already."""
        if self._file is not None:
            self._file.write(text + "\n")

    def flush(self) -> None:
        """Hand the buffer to the system."""
        if self._file is not None:
            self._file.flush()

    def discard(self) -> None:
        """Leave nothing: there was no measurement."""
        if self._file is not None:
            self._file.close()
            self._file = None
            os.remove(self.path)

    def close(self) -> None:
        """Close and compress; the plain file goes when the compressed one is there."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        part = self.path + ".gz.part"
        with open(self.path, "rb") as plain, open(part, "wb") as raw:
            # no name, no time: the same samples give the same bytes
            with gzip.GzipFile("", "wb", 6, raw, 0) as packed:
                shutil.copyfileobj(plain, packed)
            raw.flush()
            os.fsync(raw.fileno())
        os.rename(part, self.path + ".gz")
        os.remove(self.path)
