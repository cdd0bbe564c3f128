"""The layout, checked (docs/decisions/layout.md): where a line may lie, what it may import, and which files may do I/O."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import PROJECT
from tests.support.source_trees import PACKAGES as ORDER
from tests.support.source_trees import modules, trees

# Every other file in nodes/ but node.py is pure: it is given what it needs, time too, and gives back what follows.
IO = (
    "__main__", "exchange/server/callers", "exchange/server/faults", "exchange/server/files", "exchange/server/ledger",
    "exchange/server/pace", "exchange/server/paper", "exchange/server/rest", "exchange/server/running",
    "exchange/server/sockets",
    "exchange/server/tls", "feed/connection", "feed/line", "feed/pacing", "feed/publishing", "feed/rest_requests",
    "feed/scanning", "feed/upkeep", "feed/watching", "gateway/encoding", "gateway/market_rows",
    "gateway/actions", "gateway/attending", "gateway/connections", "gateway/page/collecting", "gateway/page/mounting",
    "gateway/page/view",
    "gateway/core_share", "gateway/paced_threads", "gateway/queries",
    "gateway/reading",
    "gateway/run_files", "gateway/server", "gateway/streaming",
    "model/refused", "model/trial", "models/cache", "models/loading", "models/weights",
    "net/budget", "net/endpoints",
    "net/exchange_address", "net/http_client",
    "net/failures", "net/rest", "net/trust", "net/venue_clock", "net/waits", "net/websocket", "recorder/days",
    "orders/commanding",
    "runner/alone", "runner/history", "runner/hosted_steps", "runner/hosting", "runner/placing", "runner/put_out",
    "runner/rehearsal", "runner/stalls", "runner/step", "runner/warm",
    "sentinel/kill_switch", "sentinel/processes", "sentinel/silence", "sentinel/supervisord",
    "session/asking",
    "session/confirmation", "session/credentials", "session/emergency", "session/paper_sender", "session/permissions",
    "session/publishing",
    "session/reconciliation", "session/requests", "session/rest_orders", "session/sending", "session/stopping",
    "session/venue_connection",
    "notifier/deliver",
    "supervision/foreground", "supervision/groups", "supervision/preloaded", "supervision/presence",
    "supervision/process_control", "supervision/sessions", "supervision/taking_over",
)  # fmt: skip
MACHINE = {
    "aiohttp", "asyncio", "fcntl", "os", "pathlib", "psutil", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile",
    "threading", "time", "uvloop", "websockets", "zmq",
}  # fmt: skip
OURS = {  # what of bus and storage reads or writes files, sockets, clocks; None: all of it
    "bus.clock": {
        "now_ns", "wall_ns", "elapsed_ns", "follow", "ClockWriter", "Follower", "machine_wall_ns", "machine_elapsed_ns",
    },
    "bus.checkpoint": None, "bus.file_lock": None, "bus.files": None, "bus.instruments": {"DecidedInstruments"},
    "bus.compiled_objects": {"load", "sources_text", "machine"}, "bus.compiling_objects": None,
    "bus.log": None, "bus.log_follower": None, "bus.log_writer": None,
    "bus.operator_log": None, "bus.process": None,
    "bus.intake": {"Intake"}, "bus.sockets": {"Producer", "Publisher", "Subscriber", "open_socket"}, "bus.space": {"free_of"},
    "storage.archive": None, "storage.recent": None, "storage.query": None,
    "storage.columns.archive": None, "storage.columns.log": None, "storage.columns.reading": None,
    "nodes.net.rest": {"Rest"}, "nodes.net.websocket": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def trees_of_tests() -> dict[Path, ast.Module]:
    """Path below the project → the tree of each file of the tests."""
    return {path.relative_to(PROJECT): ast.parse(path.read_text()) for path in sorted(PROJECT.glob("tests/**/*.py"))}


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of every import anywhere in it; modules of ours without their first `tickmesh.`, where a name is a module
    of ours it is part of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.removeprefix("tickmesh."), "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, "imports name the whole module"
            base = node.module.removeprefix("tickmesh.")
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (whole, "") if whole in modules() else (base, alias.name)


@pytest.mark.parametrize("package", ORDER)
def test_imports_run_one_way(package):
    above = set(ORDER[ORDER.index(package) + 1 :])
    for module, tree in modules().items():
        wrong = {name for name, _ in imported(tree) if name.partition(".")[0] in above}
        assert module.partition(".")[0] != package or not wrong, f"{module} imports {wrong}"


def test_everything_is_imported_by_its_installed_name(trees_of_tests):
    """Not as bus, nodes … from the folder that happens to be the working one: two names would be two modules."""
    of_bench = {path.relative_to(PROJECT): ast.parse(path.read_text()) for path in PROJECT.glob("bench/*.py")}
    for path, tree in (trees() | trees_of_tests | of_bench).items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & set(ORDER), f"{path}: {names}"


def test_no_import_goes_round():
    graph = {module: {name for name, _ in imported(tree) if name in modules()} - {module} for module, tree in modules().items()}
    state: dict[str, int] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert state.get(module) != 1, " → ".join((*way[way.index(module) :], module))
        if module not in state:
            state[module] = 1
            for other in sorted(graph[module]):
                visit(other, (*way, module))
            state[module] = 2

    for module in sorted(graph):
        visit(module, ())


def test_no_node_imports_another():
    """But the sequencer, which hosts, and what looks at all of them (tools/)."""
    for module, tree in modules().items():
        if module.startswith("nodes.") and not module.startswith(("nodes.sequencer.", "nodes.__main__")):
            own = ".".join(module.split(".")[:2]) + ".node"
            wrong = {name for name, _ in imported(tree) if name.endswith(".node")} - {own}
            assert not wrong, f"{module} imports {wrong}"


def touches(tree: ast.AST) -> set[str]:
    """What of the machine a file can reach by its own imports."""
    found = set()
    for module, name in imported(tree):
        if module.partition(".")[0] in MACHINE:
            found.add(module)
        for ours, names in OURS.items():
            if (module == ours or module.startswith(f"{ours}.")) and (names is None or name in names):
                found.add(f"{module}.{name}")
    return found


def test_what_does_io_is_named():
    for path, tree in trees().items():
        inside = path.with_suffix("").as_posix().removeprefix("nodes/")
        if path.parts[0] != "nodes" or path.name in ("node.py", "__init__.py"):
            continue
        if inside in IO:
            assert touches(tree), f"{path} is on the list of files that do I/O, and does none"
        else:
            assert not touches(tree), f"{path} should be pure, and imports {touches(tree)}"
    assert set(IO) <= {path.with_suffix("").as_posix().removeprefix("nodes/") for path in trees()}


OF_ALL_NODES = ("__init__.py", "__main__.py", "process_table.py")


def test_a_process_is_a_folder_and_says_what_it_is():
    for path in trees():
        assert (
            path.parts[0] != "nodes" or len(path.parts) > 2 or path.name in ("__init__.py", "__main__.py", "process_table.py")
        ), path
    for folder in {path.parent for path in trees()}:
        text = ast.get_docstring(trees()[folder / "__init__.py"]) or ""
        assert text.endswith("."), f"{folder}/__init__.py says in a sentence what the folder is"


def test_tests_mirror_the_tree(trees_of_tests):
    """A test lies where what it tests lies; tests of several processes in tests/mesh, helpers in tests/support."""
    folders = {path.parent for path in trees()}
    for path in PROJECT.glob("tests/**/*.py"):
        place = path.relative_to(PROJECT / "tests")
        if place.parts[0] in ("mesh", "support") or len(place.parts) == 1:
            continue
        assert place.parent in folders, f"tests/{place} mirrors no folder"
        assert path.name.startswith("test_"), f"tests/{place} is no test: helpers lie in tests/support"
    for path, tree in trees_of_tests.items():
        for module, _ in imported(tree):
            assert not module.startswith("tests.") or module.startswith("tests.support"), f"{path} imports {module}"


def test_a_name_is_one_class():
    defined: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules().items():
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(module)
    for name, places in defined.items():
        assert len(places) == 1 or name in TWICE, f"class {name}: {', '.join(places)}"
    for name in TWICE:
        assert len(defined[name]) > 1, f"class {name} is allowed to be there twice, and is not"


TWICE = {
    "Event": "the judge reads events by itself, from docs/messages.md",
    "Step": "what the runner looks for in a node that is a pure function of the log",
}


def test_byte_offsets_of_an_event_stand_in_two_files():
    """bus/layout.py derives them from schema.py, bus/wire.py writes at them; others name fields.

    tools/judge reads events by itself, from docs/messages.md."""
    for path, tree in trees().items():
        if path in (Path("bus/layout.py"), Path("bus/wire.py")) or path.is_relative_to("tools/judge"):
            continue
        for node in ast.walk(tree):
            at = f"{path}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Name) and node.id == "HEADER_SIZE"), (
                f"{at}: HEADER_SIZE is layout.py's and wire.py's"
            )
            if isinstance(node, ast.Subscript):
                places = {child.value for child in ast.walk(node.slice) if isinstance(child, ast.Constant)}
                name = getattr(node.value, "id", "") or getattr(node.value, "attr", "")
                assert name != "fields", f"{at}: layout.py knows where fields lie"
                assert name != "event" or not places, f"{at}: {ast.unparse(node)} is a place in an event"
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("unpack_from", "pack_into"):
                offset = node.args[1:2] if node.func.attr == "unpack_from" else node.args[2:3]
                places = {child.value for one in offset for child in ast.walk(one) if isinstance(child, ast.Constant)}
                assert not places, f"{at}: {ast.unparse(node)} has a number for a place"


def test_no_file_is_longer_than_can_be_read_at_a_sitting():
    lines = {
        path.relative_to(PROJECT).as_posix(): len(path.read_text().splitlines())
        for folder in (*ORDER, "bench", "tests")
        for path in (PROJECT / folder).rglob("*.py")
    }
    for path, count in lines.items():
        allowed = LONGER.get(path, LINES_MAX)
        assert count <= allowed, f"{path} has {count} lines; {allowed} are allowed: split it by what its parts are for"
    for path in LONGER:
        assert lines.get(path, 0) > LINES_MAX, f"{path} is allowed to be longer than {LINES_MAX} lines, and is not"


LINES_MAX = 400
LONGER = {  # to be split; path → lines allowed until then
}
