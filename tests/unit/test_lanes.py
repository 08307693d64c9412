"""How what was read is shared out over the transactions that apply it at once."""

from hypothesis import given
from hypothesis import strategies as st

from services.alerts.stream.apply import Batch, Fetched
from services.alerts.stream.consumer import LANE_RECORDS, LANES, lanes


def batch(partition: int, records: int) -> Batch:
    return Batch("cases", partition, 1, 0, records + 1, [Fetched(offset, b"") for offset in range(records)])


@given(st.lists(st.integers(0, 3 * LANE_RECORDS), min_size=1, max_size=12))
def test_every_partition_is_in_one_lane_as_a_whole(sizes: list[int]) -> None:
    batches = [batch(partition, size) for partition, size in enumerate(sizes)]
    found = lanes(batches)
    assert sorted(each.partition for lane in found for each in lane) == list(range(len(sizes)))
    assert 1 <= len(found) <= LANES
    assert all(found)


def test_little_is_one_transaction() -> None:
    assert len(lanes([batch(number, LANE_RECORDS // 8) for number in range(12)])) == 1


def test_much_is_shared_out_evenly() -> None:
    first, second = lanes([batch(0, 900), batch(1, 500), batch(2, 400)])
    assert [sum(len(each.records) for each in lane) for lane in (first, second)] == [900, 900]
