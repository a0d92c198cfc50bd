"""Where what is kept."""

from collections import Counter

from tests.harness.valkey import SLOTS, ValkeyCluster
from wellnet_sse.brokers.valkey.names import BUCKETS, TAGS, bucket_key


async def slots(cluster: ValkeyCluster) -> list[int]:
    """Of all buckets, as the server itself reckons them."""
    server = cluster.servers[0]
    found = [
        await server.call("CLUSTER", "KEYSLOT", bucket_key(bucket, "heads")) for bucket in range(BUCKETS)
    ]
    return [int(str(slot)) for slot in found]


async def test_equal_nodes_of_a_cluster_have_equally_many_buckets(valkey_cluster: ValkeyCluster) -> None:
    found = await slots(valkey_cluster)
    for nodes in range(1, BUCKETS + 1):
        shares = Counter(slot * nodes // SLOTS for slot in found)
        assert set(shares) == set(range(nodes))
        assert max(shares.values()) - min(shares.values()) <= 1


def test_buckets_stay_where_they_are() -> None:
    """Whatever was kept under another tag would not be found any more."""
    assert " ".join(TAGS) == (
        "973 1645 25 1755 180 1288 2754 1398 1776 840 1666 383 1556 1025 1446 2667 "
        "1040 348 1150 258 63 168 935 695 496 708 586 618 1620 528 1730 40"
    )
