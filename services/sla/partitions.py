"""Which partition a key belongs to: Kafka's own rule, which the clients of all languages follow."""

MASK = 0xFFFFFFFF
FACTOR = 0x5BD1E995


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that the default partitioner chooses among so many."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits, with Kafka's seed."""
    length = len(data)
    found = 0x9747B28C ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * FACTOR & MASK
        word = (word ^ word >> 24) * FACTOR & MASK
        found = (found * FACTOR & MASK) ^ word
    if whole < length:
        found = (found ^ int.from_bytes(data[whole:], "little")) * FACTOR & MASK
    found = (found ^ found >> 13) * FACTOR & MASK
    return found ^ found >> 15
