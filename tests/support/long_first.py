"""The order of tests among workers: what takes long begins early, so that none of it is left when nothing else is."""

from collections import Counter
from collections.abc import Sequence


def long_first(modules: Sequence[str], is_long: Sequence[bool], workers: int) -> list[int]:
    """Gives the places of tests in a better order. modules: the file of each test; is_long: whether it takes long.

    xdist's worksteal gives each worker as many tests, one after the other in this order, and who has none left takes over the
    last ones of another. So each worker has its share of the files with long tests, and short ones between them and last: some
    wait for processes while others work, and every second worker begins with short ones. A file stays whole, since its tests
    may share what is costly to make.
    """
    long_tests = Counter(module for module, takes_long in zip(modules, is_long, strict=True) if takes_long)
    places: dict[str, list[int]] = {module: [] for module in long_tests}
    short = []
    for place, module in enumerate(modules):
        places.get(module, short).append(place)
    files: list[list[list[int]]] = [[] for _ in range(workers)]
    shares = [0] * workers
    for module, count in long_tests.most_common():
        worker = shares.index(min(shares))
        files[worker].append(places[module])
        shares[worker] += count
    out: list[int] = []
    for worker, mine in enumerate(files):
        size = (len(modules) - len(out)) // (workers - worker)
        most = min(max(size - sum(map(len, mine)), 0), len(short))
        between, short = short[:most], short[most:]
        step = most // (2 * len(mine)) if mine else 0  # half of them come after the last long one
        done = 0
        for number, file in enumerate(mine, worker % 2):
            upto = max(step * number, done)
            while 0 < upto < most and modules[between[upto]] == modules[between[upto - 1]]:
                upto += 1  # to the end of a file
            out += between[done:upto] + file
            done = upto
        out += between[done:]
    return out + short
