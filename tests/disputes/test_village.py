"""The file that the adversary's village is built from is what the model says today."""

from disputes.make_village import FILE, book


def test_book__made_anew__is_the_committed_file(tmp_path):
    assert FILE.read_bytes() == book(tmp_path)
