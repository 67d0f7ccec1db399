#!/usr/bin/env bash
# Ray 2.60.0 on Linux: which helper processes run with include_dashboard=False.
#
# Guess: without the dashboard neither dashboard.py runs nor the log monitor of a driver that asks for no logs, and no
# autoscaler is watched on a machine that has none.
# Seen: dashboard.py runs all the same (it counts usage), and so do the autoscaler's monitor.py and log_monitor.py, though
# log_to_driver is False and usage statistics are off. Each costs a Python start of about 0.7 to 1.2 s of CPU.
# Exits with 1 where that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[default]==2.60.0" "psutil==7.2.2"
cat >"$place/helpers.py" <<'PY'
import sys, psutil, ray

ray.init(address="local", include_dashboard=False, num_cpus=1, object_store_memory=80 * 2**20, log_to_driver=False,
         logging_level="error", _temp_dir=sys.argv[1])
ray.get(ray.remote(lambda: 1).remote())
lines = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
helpers = ("dashboard/dashboard.py", "autoscaler/_private/monitor.py", "_private/log_monitor.py")
print(" ".join(name.rpartition("/")[2] for name in helpers if any(name in line for line in lines)))
ray.shutdown()
PY
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
seen=$("$place/venv/bin/python" "$place/helpers.py" "$place/ray" 2>/dev/null | tail -n 1)
echo "ray 2.60.0, include_dashboard=False, log_to_driver=False, usage statistics off: runs $seen"
[[ $seen == "dashboard.py monitor.py log_monitor.py" ]]
