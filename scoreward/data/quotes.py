"""What a prompt has in quotation marks, as people write them in many languages."""

import re

MARKS = {  # an opening mark, and what may close it
    '"': '"',
    "“": "”",  # English, Chinese
    "„": '“”"',  # German, Polish
    "‟": '”"',
    "«": "»",  # French, Russian
    "‹": "›",
    "「": "」",  # Japanese
    "『": "』",
    "﹁": "﹂",
    "﹃": "﹄",
    "｢": "｣",
    "〝": "〞〟",
    "＂": "＂",
}
TURNED = {"”": "”", "»": "«»", "›": "‹›"}  # Swedish, Danish; behind a word they close or are inches
SINGLE = {"'": "'", "‘": "’", "’": "’", "‚": "‘’'", "‛": "’"}  # inside a word they are apostrophes
QUOTED = re.compile(
    "|".join(
        [f"{first}([^{last}]*)[{last}]" for first, last in MARKS.items()]
        + [rf"(?<!\w){first}([^{last}]*)[{last}]" for first, last in TURNED.items()]
        + [
            rf"(?<!\w){first}([^{last}]*(?:(?<=\w)[{last}]\w[^{last}]*)*)[{last}](?!\w)"
            for first, last in SINGLE.items()
        ]
    )
)


def quotes(prompt: str) -> list[str]:
    """All that stands in quotation marks, in order; "" for marks around nothing."""
    return ["".join(part or "" for part in groups).strip() for groups in QUOTED.findall(prompt)]


def quoted(prompt: str) -> str | None:
    """The text a prompt asks for: the last in quotation marks, None for a prompt without any."""
    return next((part for part in reversed(quotes(prompt)) if part), None)
