"""How crops are dealt out to the requests that run side by side."""

from itertools import chain

import pytest

from model.runtime.engines.crop_model import batches_of_shares


@pytest.mark.parametrize("streams", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 10, 21, 64, 131])
@pytest.mark.parametrize("sizes", [(4, 2, 1), (16, 8, 4, 2, 1)])
def test_every_crop_is_in_one_batch_and_the_streams_have_equal_shares(count, streams, sizes):
    shares = batches_of_shares(count, streams, sizes)
    batches = list(chain.from_iterable(shares))
    assert [place for batch in batches for place in range(batch.start, batch.stop)] == list(range(count))
    assert {batch.stop - batch.start for batch in batches} <= set(sizes)
    totals = [sum(batch.stop - batch.start for batch in share) for share in shares]
    assert max(totals) - min(totals) <= 1


def test_ten_crops_on_two_streams_are_two_fives():
    first, second = batches_of_shares(10, 2, (4, 2, 1))
    assert first == [slice(0, 4), slice(4, 5)]
    assert second == [slice(5, 9), slice(9, 10)]
