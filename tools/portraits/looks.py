"""Which designs and colours of Pixel Art we draw, and what each is called.

Left out, after looking at every part at 16 x 16: hair that is neither clearly short nor clearly
long, straight and shapeless mouths, shirts of a few pixels, glasses without a frame, and colours
between two names (dark blond, pale yellow, the ivory of some earrings).
"""

HAIR_COLOR = {
    "black": ["28150a"],
    "blond": ["cab188"],
    "blue": ["009bbd"],
    "brown": ["603a14", "83623b", "603015", "612616", "611c17"],
    "green": ["91cb15"],
    "red": ["bd1700"],
}
CLOTHES = {
    "blue": ["428bca", "5bc0de"],
    "coral": ["ff6f69"],
    "cream": ["ffeead"],
    "green": ["44c585", "00b159", "88d8b0"],
    "navy": ["03396c"],
    "red": ["d11141", "ae0001"],
    "yellow": ["ffc425"],
}
HAT = {
    "black": ["2e1e05"],
    "blue": ["2663a3"],
    "gray": ["989789"],
    "green": ["3d8a6b"],
    "pink": ["cc6192"],
    "purple": ["614f8a"],
    "red": ["a62116"],
}
EARRINGS = ["daa520", "ffd700", "d3d3d3", "a9a9a9"]

HAIR = {
    "short": [f"short{i:02}" for i in range(1, 25) if i not in (11, 13)],
    "long": [f"long{i:02}" for i in (1, 2, 3, 4, 7, 8, 9, 12, 13, 17, 18, 19, 20, 21)],
}
MOUTH = {
    "happy": [f"happy{i:02}" for i in (6, 7, 8, 9, 10, 11, 12)],
    "sad": [f"sad{i:02}" for i in (1, 2, 3, 8, 9)],
}
GLASSES = {kind: [f"{kind}{i:02}" for i in (1, 2, 3, 5, 6, 7)] for kind in ("dark", "light")}
CLOTHING = [f"variant{i:02}" for i in range(1, 24) if i not in (7, 15, 18, 21, 22)]
HATS = [f"variant{i:02}" for i in range(1, 11)]
ACCESSORIES = [f"variant{i:02}" for i in range(1, 5)]
EYES = [f"variant{i:02}" for i in range(1, 13)]

CHANCE = {"glasses": 0.5, "hat": 0.42, "earrings": 0.42}  # of being worn; ours
