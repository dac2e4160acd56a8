"""The dashboard's files as they lie in the package, by the path at which the API gives them out. Nothing is built."""

from importlib.resources import files

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def _read() -> dict[str, tuple[bytes, str]]:
    found = {}
    for each in (files("oracle.api") / "dashboard").iterdir():
        name, kind = each.name, KINDS.get(each.name.rpartition(".")[2])
        if kind is not None:
            found["/" if name == "index.html" else f"/dashboard/{name}"] = (each.read_bytes(), kind)
    return found


FILES = _read()
"""Content and media type of each."""
