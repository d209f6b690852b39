"""What a prompt has in quotation marks, in the marks of many languages."""

import pytest

from scoreward.data.quotes import quoted, quotes

ASKED = {
    'a sign "OPEN"': "OPEN",
    "a sign “OPEN”": "OPEN",
    "a sign ‘OPEN’": "OPEN",
    "a sign 'OPEN'": "OPEN",
    "une enseigne «BONJOUR»": "BONJOUR",
    "une enseigne «\u202fBONJOUR\u00a0»": "BONJOUR",
    "une enseigne ‹BONJOUR›": "BONJOUR",
    "ein Schild „STOP“": "STOP",
    "ein Schild „STOP”": "STOP",
    'ein Schild „STOP"': "STOP",
    "ein Schild ‚STOP‘": "STOP",
    "ein Schild »STOP«": "STOP",
    "et skilt ›STOP‹": "STOP",
    "en skylt ”STOPP”": "STOPP",
    "kyltti »SEIS»": "SEIS",
    "ポスター「こんにちは」": "こんにちは",
    "ポスター『HELLO』": "HELLO",
    "縦書き﹁右﹂": "右",
    "〝HELLO〟": "HELLO",
    "｢HELLO｣": "HELLO",
    "＂HELLO＂": "HELLO",
    "一张海报“你好”": "你好",
    # the last of several, an outer one with all in it, apostrophes inside
    "„A“ und „B“": "B",
    "«A» puis «B»": "B",
    "»A« und »B«": "B",
    "“A” or “B”": "B",
    "“it\u2019s ‘OK’”": "it\u2019s ‘OK’",
    "a sign 'don't stop'": "don't stop",
    "a sign ‘don’t stop’": "don’t stop",
    'first "A", then ""': "A",
}
NONE = (
    "a plain cat",
    "it isn't quoted, that's all",
    "the dogs’ bone and the cats’ toy",
    "a 6” by 4” plank",
    "the ’90s and the ’80s",
    "one « mark alone",
)


@pytest.mark.parametrize("prompt", list(ASKED))
def test_the_text_asked_for_is_the_last_in_marks_of_any_language(prompt: str) -> None:
    assert quoted(prompt) == ASKED[prompt]


@pytest.mark.parametrize("prompt", NONE)
def test_apostrophes_and_inches_are_no_quotation_marks(prompt: str) -> None:
    assert quoted(prompt) is None
    assert quotes(prompt) == []


@pytest.mark.parametrize("marks", ['""', "“”", "„“", "«»", "« »", "「」", "''", "‘’"])
def test_marks_around_nothing_are_told_from_none(marks: str) -> None:
    assert quoted(f"a sign {marks}") is None
    assert quotes(f"a sign {marks}") == [""]
