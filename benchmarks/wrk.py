"""wrk, the load generator: a closed loop on one thread; calls it could not send meanwhile are not counted."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .processes import GENERATOR_CORE
from .wire import PATH, Call

# wrk prints a summary of its own; ours is the line that begins with this.
MARK = "benchmark: "
SCRIPT = """\
wrk.method, wrk.path, wrk.body = "POST", {path}, {body}
{headers}
local sessions, requests, turn = {{ {sessions} }}, {{}}, 0
if #sessions > 0 then
  init = function(args)
    for _, session in ipairs(sessions) do
      wrk.headers["Mcp-Session-Id"] = session
      table.insert(requests, wrk.format())
    end
  end
  request = function()
    turn = turn % #requests + 1
    return requests[turn]
  end
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{mark}{{"calls":%d,"microseconds":%d,"p50":%d,"p99":%d,"statuses":%d,"sockets":%d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class LoadError(Exception):
    """wrk isn't there, failed, or met errors; the message says which."""


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float


def script(call: Call) -> str:
    """Return the Lua script that makes wrk send a call."""
    return SCRIPT.format(
        path=quoted(PATH),
        body=quoted(call.body),
        headers="\n".join(
            f"wrk.headers[{quoted(name)}] = {quoted(value)}" for name, value in call.headers.items()
        ),
        sessions=", ".join(map(quoted, call.sessions)),
        mark=MARK,
    )


def quoted(text: str) -> str:
    """Return a text as a literal of Lua: each byte as a backslash and three digits."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


def parse(output: str) -> Load:
    """Read what the script printed; raises `LoadError` where a call failed or none was answered."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise LoadError(f"wrk printed no summary:\n{output}")
    found = json.loads(line.removeprefix(MARK))
    if found["statuses"] or found["sockets"]:
        raise LoadError(
            f"{found['statuses']} of {found['calls']} calls refused, {found['sockets']} connections failed"
        )
    if not found["calls"]:
        raise LoadError("no call was answered")
    return Load(found["calls"], found["microseconds"] / 1e6, found["p50"] / 1e3, found["p99"] / 1e3)


def load(port: int, call: Call, *, connections: int, seconds: int, directory: Path) -> Load:
    """Send the call over and over for a while on some connections, from the generator's core."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadError("wrk isn't installed: apt-get install wrk")
    lua = directory / "call.lua"
    lua.write_text(script(call))
    pinned = ["taskset", "--cpu-list", str(GENERATOR_CORE), wrk]
    options = ["--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--timeout=10s"]
    done = subprocess.run(
        [*pinned, *options, f"--script={lua}", f"http://127.0.0.1:{port}{PATH}"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    if done.returncode:
        raise LoadError(f"wrk ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return parse(done.stdout)
