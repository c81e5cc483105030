from __future__ import annotations

import pytest
from data_svc.worker.language import detect
from hypothesis import given
from hypothesis import strategies as st

SENTENCES = {
    "en": "The furnace is lined with bricks that take up the heat of the melt. ",
    "de": "Der Hochofen wird von oben mit Erz und Koks beschickt und läuft ohne Pause. ",
    "ru": "Доменная печь работает без остановки в течение нескольких лет. ",
    "ja": "高炉は何年も休まずに動き続け、鉄鉱石から銑鉄を作ります。",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_detect_finds_the_language_of_a_short_and_of_a_long_text(language: str) -> None:
    assert detect(SENTENCES[language].encode()) == language
    assert detect((SENTENCES[language] * 1001).encode()) == language


def test_detect_text_without_words_is_undetermined() -> None:
    assert detect(b"") == "und"
    assert detect(b"12 34 -- 56\n" * 1000) == "und"


@given(st.binary(max_size=3000))
def test_detect_of_any_bytes_gives_a_code(data: bytes) -> None:
    assert 2 <= len(detect(data)) <= 3
