#!/bin/sh
# Dask's Client.scheduler_info() now and then lists no worker, although one is there all the time.
#
# Versions: distributed 2026.8.0, dask 2026.8.0 (2026-11-30).
# Likely guess: a blocking client asks the scheduler and returns its answer; without workers in it, there are none.
# What happens: the answer goes through an attribute that a periodic call of the client's own thread also writes, and that call
# asks for totals alone: the list is empty, and n_workers next to it says 1. Whoever counts lost workers by this list loses
# healthy ones, rarely and only on long runs: the periodic call comes every 2 s. Here it comes every 2 ms, by a public setting.
# client.sync(client.scheduler.identity, n_workers=-1) asks the same past the attribute, and always lists the worker.
# Output seen: "every 2ms: no worker in 306 of 3000 answers, of which 306 count one; asked past it, in 0" (170 to 306 in four runs).
#
# Starts scheduler and worker in its own process; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check distributed==2026.8.0 dask==2026.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import dask
from distributed import Client, LocalCluster

ANSWERS = 3000
INTERVAL = "2ms"
with (
    dask.config.set({"distributed.client.scheduler-info-interval": INTERVAL}),
    LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
    Client(cluster) as client,
):
    client.wait_for_workers(1)
    empty = [info for info in (client.scheduler_info() for _ in range(ANSWERS)) if not info["workers"]]
    past = [client.sync(client.scheduler.identity, n_workers=-1) for _ in range(ANSWERS)]
counting_one = sum(info["n_workers"] == 1 for info in empty)
none = sum(not info["workers"] for info in past)
print(
    f"every {INTERVAL}: no worker in {len(empty)} of {ANSWERS} answers, of which {counting_one} count one; "
    f"asked past it, in {none}"
)
assert empty, "every answer lists the worker now"
assert counting_one == len(empty)
assert none == 0
PYTHON
