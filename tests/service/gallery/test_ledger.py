"""The ledger: pages find their entries, an index its earliest expiry."""

from hypothesis import given
from hypothesis import strategies as st

from service.gallery.ledger import NEVER, Entry, LedgerIndex, LedgerPage

TAGS = st.binary(min_size=16, max_size=16)
ENTRIES = st.builds(Entry, st.integers(1, 2**60), st.floats(0, 1e12) | st.just(NEVER))


@given(st.lists(st.tuples(TAGS, ENTRIES | st.none()), max_size=40))
def test_a_page_does_what_a_dict_does(changes: list[tuple[bytes, Entry | None]]):
    page, expected = LedgerPage(), dict[bytes, Entry]()
    for tag, entry in changes:
        page = page.with_entry(tag, entry)
        expected.pop(tag, None)
        if entry is not None:
            expected[tag] = entry
    assert dict(page.entries()) == expected
    for tag, _ in changes:
        assert page.get(tag) == expected.get(tag)


def test_bytes_across_two_entries_are_no_entry():
    first, second = b"a" * 16, b"b" * 16
    page = LedgerPage().with_entry(first, Entry(1, 0.0)).with_entry(second, Entry(2, 0.0))
    across = page.packed[24:40]
    assert page.get(across) is None
    assert page.get(second) == Entry(2, 0.0)


def test_an_index_tells_which_pages_have_expired_subjects():
    page = LedgerPage().with_entry(b"a" * 16, Entry(3, 50.0)).with_entry(b"b" * 16, Entry(4))
    index = LedgerIndex().with_page(97, 4, page)
    assert LedgerIndex.unpacked(index.packed()) == index
    assert (index.stamps[97], index.expiring(49.9), index.expiring(50.0)) == (4, [], [97])
    assert index.with_page(97, 5, page.with_entry(b"a" * 16, None)).expiring(1e12) == []
