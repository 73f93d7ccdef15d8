"""Does a job run slower while many pages watch it?

    python benchmarks/page_clients.py --threads 1

The same denoising runs on a server of the page in pairs, once with no page open and once with `--clients` of them,
each of which reads all events of its stream. A pair runs back to back, its order alternates. The seconds are those of
the job's report, which begin when its model is loaded. What the server itself computes meanwhile, read from /proc, is
its share of one core: on a busy machine it says more than the seconds do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from common import options, write
from headwater.image.io import photos


def ask(address: str, path: str, body: bytes | None = None) -> Any:
    """The JSON of an answer."""
    kind = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address + path, body, kind)) as answer:
        return json.loads(answer.read())


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def read_events(port: int, counts: list[int], place: int) -> None:
    """One page: count the events of its stream until it is cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    while line := await reader.readline():
        counts[place] += line.startswith(b"event:")


async def listen(port: int, clients: int) -> None:
    """Many pages, until standard input closes; prints the least number of events that one of them got."""
    counts = [0] * clients
    tasks = [asyncio.create_task(read_events(port, counts, i)) for i in range(clients)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(min(counts, default=0))


def run_job(address: str, pid: int, clients: int, gradients: int) -> dict[str, float]:
    """One denoising with so many pages open."""
    port = address.rsplit(":", 1)[1].strip("/")
    words = [sys.executable, __file__, "--listen", port, str(clients)]
    pages = (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) if clients else None
    )
    time.sleep(3.0)
    upload = ask(address, "api/files?kind=picture&name=cat.png", photos.path("cat").read_bytes())
    form = {
        "command": "image denoise",
        "values": {"noise": "2/255", "method": "map", "gradients": gradients, "steps": 4},
        "files": {"input": upload["id"]},
    }
    before, start = cpu_seconds(pid), time.perf_counter()
    job = ask(address, "api/jobs", json.dumps(form).encode())
    while (job := ask(address, f"api/jobs/{job['id']}"))["state"] in ("waiting", "running"):
        time.sleep(1.0)
    share = (cpu_seconds(pid) - before) / (time.perf_counter() - start)
    events = int(pages.communicate("")[0]) if pages else 0
    report = ask(address, f"api/jobs/{job['id']}/files/cat-denoise.json")
    return {"seconds": report["seconds"], "share": share, "events": events}


def main() -> None:
    if sys.argv[1:2] == ["--listen"]:
        asyncio.run(listen(int(sys.argv[2]), int(sys.argv[3])))
        return
    o = options(__doc__.splitlines()[0], clients=100, pairs=5, gradients=10)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "headwater", "serve", "--port", "0", "--folder", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": str(o.threads)}
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert server.stdout is not None
        address = re.search(r"http://\S+/", server.stdout.readline())[0]  # type: ignore[index]
        run_job(address, server.pid, 0, 1)  # files are in the page cache from here on
        for pair in range(o.pairs):
            found = {}
            for clients in (0, o.clients) if pair % 2 else (o.clients, 0):
                found[clients] = run_job(address, server.pid, clients, o.gradients)
                print(pair, clients, found[clients], flush=True)
            alone, watched = found[0], found[o.clients]
            rows.append(
                {
                    "pair": pair + 1,
                    "seconds alone": f"{alone['seconds']:.2f}",
                    f"with {o.clients} pages": f"{watched['seconds']:.2f}",
                    "ratio": f"{watched['seconds'] / alone['seconds']:.3f}",
                    "server, % of a core, alone": f"{100 * alone['share']:.1f}",
                    "server, % of a core, watched": f"{100 * watched['share']:.1f}",
                    "events, least of all pages": watched["events"],
                }
            )
        server.terminate()
        server.wait()
    ratio = statistics.median(float(str(row["ratio"])) for row in rows)
    note = (
        f"The median ratio is {ratio:.3f}. The load of the machine by others was {os.getloadavg()[2]:.1f} on "
        f"{os.cpu_count()} cores in the last 15 minutes."
    )
    command = f"benchmarks/page_clients.py --clients {o.clients} --pairs {o.pairs} --threads {o.threads}"
    write(o.results / "page_clients", rows, f"python {command}", note)


if __name__ == "__main__":
    main()
