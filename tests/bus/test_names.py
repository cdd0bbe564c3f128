"""Names keep to their fields: what is too long is refused or cut after a whole character, never in the middle of one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickmesh.bus.names import MODEL_NAME_BYTES, PRODUCER_BYTES, fitting, producer_bytes
from tickmesh.bus.schema import CURSOR, HEADER, LINE


def test_the_longest_names_fit_their_fields_in_every_record():
    for name in ("feed-binance_usdm-9", "model-" + "m" * MODEL_NAME_BYTES):
        raw = producer_bytes(name)
        assert len(raw) == HEADER["producer"].itemsize == CURSOR["producer"].itemsize == LINE["line"].itemsize
        assert raw.rstrip(b"\0").decode() == name
    assert HEADER.itemsize % 8 == 0, "records behind it stay aligned"
    for name in ("", "x" * (PRODUCER_BYTES + 1), "é" * (PRODUCER_BYTES // 2) + "x"):
        with pytest.raises(ValueError, match="1 to 32 are allowed"):
            producer_bytes(name)


@settings(max_examples=50)
@given(st.text(max_size=20), st.integers(0, 40))
def test_a_text_that_is_cut_ends_with_a_whole_character(text, size):
    cut = fitting(text, size)
    kept = cut.decode()
    assert len(cut) <= size and text.startswith(kept)
    assert kept == text or len(text[: len(kept) + 1].encode()) > size, "no shorter than it must be"
