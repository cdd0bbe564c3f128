"""Whose a recent store is: of which boot, log, schema of events and format. The file `owner` beside it has it."""

import json
from pathlib import Path

from tickmesh.bus.files import write_file
from tickmesh.bus.schema import DESCRIPTION, SCHEMA_HASH

SCHEMA = json.dumps(DESCRIPTION).encode()  # as the store's own table `meta` has it: how its events are read
FORMAT = b"2"  # of the store's tables. 1, which did not say so, had a key for each event
OTHER_FORM = "was written by a program with another schema of events or another format of the store"
_FORM = f"{SCHEMA_HASH}/{FORMAT.decode()}"  # as the file `owner` has both


def write_owner(folder: Path, boot: str, log_id: int) -> None:
    """Makes the store in `folder` one of this boot, log and schema."""
    write_file(folder / "owner", json.dumps({"boot": boot, "log_id": f"{log_id:016x}", "schema": _FORM}).encode())


def find_other_owner(folder: Path, boot: str, log_id: int) -> str | None:
    """None if the store is of this boot, log and schema; else why it is not, "" where that needs no words."""
    try:
        owner = json.loads((folder / "owner").read_bytes())
        same = boot != "" and (owner["boot"], owner["log_id"]) == (boot, f"{log_id:016x}")
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if not same:
        return ""
    return None if owner.get("schema") == _FORM else f"{folder} {OTHER_FORM}"
