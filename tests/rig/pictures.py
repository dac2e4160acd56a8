"""The pictures of the dashboard that pages show: `make pictures` takes them in a real browser."""

PICTURES = {
    "dashboard-node.webp": "#/",
    "dashboard-game.webp": "#/requests/{over}",
    "dashboard-money.webp": "#/money",
}
"""Files in docs/pictures, and the views that they show. over: a request whose dispute has ended."""
WIDTH, HEIGHT = 1280, 800
MOST_BYTES = 150_000
QUALITY = 85
"""Of the compression; up to 100."""


def size_of(webp: bytes) -> tuple[int, int]:
    """Width and height in pixels, as the header of an extended WebP says (RFC 9649, section 2.7)."""
    if webp[:4] + webp[8:16] != b"RIFFWEBPVP8X":
        raise ValueError("not an extended WebP")
    return int.from_bytes(webp[24:27], "little") + 1, int.from_bytes(webp[27:30], "little") + 1
