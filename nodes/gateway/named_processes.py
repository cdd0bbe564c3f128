"""Which processes mesh.toml names now: `mesh reload` takes one out without a new life of the gateway."""

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.nodes.process_table import name_of, nodes_of


class NamedProcesses:
    """Reads mesh.toml again when it has changed. `names`: of all processes, hosted or not, by the last good file."""

    def __init__(self, config: Config):
        self._root = config.root
        self._names = _names_in(config)
        self._seen_ns = self._changed_ns()

    def names(self) -> frozenset[str]:
        """The names of the processes that mesh.toml wants now."""
        if (changed_ns := self._changed_ns()) != self._seen_ns:
            self._seen_ns = changed_ns
            try:
                self._names = _names_in(load(self._root))
            except ConfigError:
                return self._names  # `mesh reload` says what is wrong with it
        return self._names

    def _changed_ns(self) -> int:
        try:
            return (self._root / "mesh.toml").stat().st_mtime_ns
        except OSError:
            return 0


def _names_in(config: Config) -> frozenset[str]:
    return frozenset(name_of(*one) for one in nodes_of(config))
