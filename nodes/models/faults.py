"""Why a model cannot go on: a fault of its own file, never of the mesh."""


class ModelFault(Exception):
    """A kernel that cannot be loaded, raised, or broke a rule of interface.py. It is the same at every start: so it is final.

    `where`: file and line, as far as they are known; `what`: what happened; `seq`: of the event, 0 while it is loaded or where
    that is not known; `on`: the event in words.
    """

    def __init__(self, what: str, where: str, seq: int = 0, on: str = ""):
        self.what, self.where, self.seq, self.on = what, where, seq, on
        super().__init__(f"{where}: {what}{f', at event {seq} ({on})' if seq else ''}")

    @property
    def action(self) -> str:
        """What the one who wrote it can do."""
        file = self.where.partition(":")[0]
        again = f"mend it, try it with `mesh check-model {file}`, then `mesh reload` starts it again"
        return f"it stays stopped, all else goes on; {again}"
