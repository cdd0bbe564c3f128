"""How tests are run: machine code is kept in one folder, named by all that it is made of."""

import os
from pathlib import Path

from tests.support.places import PROJECT
from tests.support.source_trees import hash_of, sources


def test_machine_code_of_changed_sources_is_not_used(tmp_path):
    """Numba looks at the file of a function alone, and not at those of the functions that it calls."""
    assert Path(os.environ["NUMBA_CACHE_DIR"]).parent == PROJECT / ".pytest_cache/kernels" and len(list(sources())) > 300
    paths = [tmp_path / "caller.py", tmp_path / "callee.py"]
    hashes = set()
    for texts in (("a = 1\n", "b = 2\n"), ("a = 1\n", "b = 3\n"), ("a = 1\nb = 2\n", "")):
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        hashes.add(hash_of(paths))
    assert len(hashes) == 3
