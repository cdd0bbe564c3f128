"""Names in fields of fixed size: how many bytes each may have, and how a text is put into one. The mesh's own name, and which
nodes are steps."""

MESH = "TICKMESH_MESH"  # in the environment of all processes of a mesh: which life of which supervisord has started them

PRODUCER_BYTES = 32  # of a process: feed-binance_usdm-1
SUBJECT_BYTES = 32  # of venue.instrument, or of a process
KERNEL_BYTES = 32  # of a file in nodes/models
FEATURE_BYTES = 32  # of a feature that a kernel publishes
STRATEGY_BYTES = 16  # of a strategy in mesh.toml
MODEL_NAME_BYTES = PRODUCER_BYTES - len("model-")  # of a model in mesh.toml: its process is model-NAME
KILL_SWITCH_FILE = "kill-switch"  # in the run folder: while it is there nothing is traded
OPERATOR = "operator"  # publishes what a person commands, for the moment that it takes
# Nodes that a tick passes on its way to an order, those first of which there are always as many
HOT_PATH = ("sequencer", "feed", "executor", "session", "model")
STEPS = ("model", "executor")  # nodes that are pure functions of the log: what killed one is there at every start


def producer_bytes(name: str) -> bytes:
    """A process's name as it stands in a header, zero-padded to its size. Raises ValueError for a name that is too long."""
    raw = name.encode()
    if not 0 < len(raw) <= PRODUCER_BYTES:
        raise ValueError(f"process name {name!r} has {len(raw)} bytes; 1 to {PRODUCER_BYTES} are allowed")
    return raw.ljust(PRODUCER_BYTES, b"\0")


def fitting(text: str, size: int) -> bytes:
    """UTF-8 of the longest beginning of `text` that has at most `size` bytes: no character is cut in two."""
    return text.encode()[:size].decode(errors="ignore").encode()
