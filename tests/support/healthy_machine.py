"""The facts of a machine on which a mesh runs well."""

from tickmesh.tools.diagnosis.folder import DiskSpeed, Mount
from tickmesh.tools.diagnosis.machine import Machine

GIB = 1 << 30
HEALTHY = Machine(
    python=(3, 12, 4), system="Linux", synced=True, error_ms=1.5, drift_ms=0.01, memory_total=16 * GIB,
    memory_available=12 * GIB, memory_limit=0, swap_used=0, open_files=1024, processes=60_000, threads=300, core_bytes=0,
    cpus=4, cpu_limit=0.0, load=0.7,
    governors=("performance",), shm_total=8 * GIB, shm_free=7 * GIB,
)  # fmt: skip
FAST = DiskSpeed(1.0, 400.0)
LOCAL = Mount("/", "ext4")
