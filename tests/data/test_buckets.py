"""Test buckets of hole ratios: exact limits, and what is refused."""

import pytest

from sair.common.errors import InputError
from sair.data.buckets import Bucket, as_buckets, bucket_of


@pytest.mark.parametrize(
    ("holes", "pixels", "label"),
    [
        (0, 100, ""),
        (1, 65536, "0-20"),
        (1999, 10000, "0-20"),
        (20, 100, "20-40"),
        (13107, 65535, "20-40"),
        (13107, 65536, "0-20"),
        (13108, 65536, "20-40"),
        (40, 100, "40-60"),
        (59, 100, "40-60"),
        (60, 100, ""),
        (100, 100, ""),
    ],
)
def test_buckets_are_half_open_and_exact(holes, pixels, label):
    assert bucket_of(holes, pixels) == label


def test_bucket_limits_are_read_as_written():
    # As a float, 0.1 is a little more than 1/10, so a mask of exactly 0.1 % would fall out of the bucket.
    assert bucket_of(1, 1000, [(0.1, 12.5)]) == "0.1-12.5"
    assert bucket_of(125, 1000, [(0.1, 12.5)]) == ""
    assert Bucket(20, 40).label == "20-40"


@pytest.mark.parametrize(
    ("limits", "message"),
    [([(20, 20)], "20-20 is not an interval"), ([(50, 101)], "50-101"), ([(0, 30), (20, 40)], "overlap")],
)
def test_wrong_buckets_are_refused(limits, message):
    with pytest.raises(InputError, match=message):
        as_buckets(limits)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="11 hole pixels of 10"):
        bucket_of(11, 10)
