"""A word that is not shown."""


class Secret:
    """A token: neither printed nor written among the settings of a run."""

    def __init__(self, word: str) -> None:
        if not word or not word.isascii() or not word.isprintable() or " " in word:
            raise ValueError("a token is a word of visible ASCII characters, without spaces")
        self._word = word

    def __repr__(self) -> str:
        return "Secret"

    def word(self) -> str:
        return self._word
