"""Texts of others as messages show them."""

import pytest

from napari_exposure.core.words import printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("核 µm — “é”", "核 µm — “é”"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x1b[2J\x00\x7f\x9b", "\\x1b[2J\\x00\\x7f\\x9b"),
        ("a\u202eb\u200fc", "a\\u202eb\\u200fc"),
        ("half \udcff", "half \\udcff"),
        ("wide\u3000space\xa0too", "wide\u3000space\xa0too"),
        (17, "17"),
    ],
)
def test_nothing_acts(text, shown):
    assert printable(text) == shown


def test_long_texts_keep_their_ends():
    text = "".join(f"{number:06d}" for number in range(1000))
    short = shortened(text, 100)
    assert len(short) <= 110
    assert short.startswith(text[:75])
    assert short.endswith(text[-25:])
    assert shortened("short", 100) == "short"
