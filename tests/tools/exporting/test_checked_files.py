"""A file for another program is there whole, or as it was before."""

import pytest

from tickmesh.tools.exporting.checked_files import write_checked
from tickmesh.tools.terminal import Failure


def test_what_does_not_read_back_is_a_sentence_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "new/day.bin"
    write_checked(path, lambda file: file.write(b"first"), lambda written: written.read_bytes() == b"first")
    assert path.read_bytes() == b"first"
    with pytest.raises(Failure, match="day.bin does not read back as it was written"):
        write_checked(path, lambda file: file.write(b"secon"), lambda written: written.read_bytes() == b"second")
    assert [one.read_bytes() for one in path.parent.iterdir()] == [b"first"]
