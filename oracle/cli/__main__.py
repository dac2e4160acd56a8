"""`python -m oracle.cli` is `didyma`."""

from oracle.cli import app

if __name__ == "__main__":
    app()
