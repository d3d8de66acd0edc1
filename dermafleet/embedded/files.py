"""Files that only we may read."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file that was never readable by others and is never half-written."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
