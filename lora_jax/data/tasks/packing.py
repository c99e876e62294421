"""Which rows are packed together into one: best fit, the longest first."""

import bisect
from collections.abc import Sequence


def pack(lengths: Sequence[int], room: int) -> list[tuple[int, ...]]:
    """Return the indices of the rows in each bin. No bin holds more than `room`.

    We place rows from the longest to the shortest, and equal ones in the order given. Each goes into the bin
    that it fills best. This takes at most 11/9 of the best possible number of bins, and one bin (Johnson
    1973). The number of bins depends only on the lengths, not on their order.
    """
    bins: list[list[int]] = []
    by_room: dict[int, list[int]] = {}  # the bins with so much room left
    rooms: list[int] = []  # the keys of by_room, sorted
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = bisect.bisect_left(rooms, lengths[index])
        if at == len(rooms):
            bins.append([index])
            left, number = room - lengths[index], len(bins) - 1
        else:
            found = rooms[at]
            number = by_room[found].pop()
            if not by_room[found]:
                del by_room[found]
                rooms.pop(at)
            bins[number].append(index)
            left = found - lengths[index]
        if left not in by_room:
            bisect.insort(rooms, left)
            by_room[left] = []
        by_room[left].append(number)
    return [tuple(rows) for rows in bins]
