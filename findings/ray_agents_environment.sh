#!/usr/bin/env bash
# Ray 2.60.0 on Linux: how to find the processes that a killed driver leaves behind.
#
# Guess: SIGKILL of the process that called ray.init ends every process of its cluster within seconds; whatever is left can be
# found by its environment, which it inherited (psutil's Process.environ).
# Seen: two agents, ray::DashboardAgent and ray::RuntimeEnvAgent, were still there after 10 s. Their titles are written over the
# block that holds their environment: environ() of them is empty, or lacks a variable that the driver had. The log files that they
# hold open name their cluster's folder.
# Exits with 1 where that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[default]==2.60.0" "psutil==7.2.2"
cat >"$place/driver.py" <<'PY'
import sys, time, ray

ray.init(address="local", include_dashboard=False, num_cpus=1, object_store_memory=80 * 2**20, log_to_driver=False,
         logging_level="error", _temp_dir=sys.argv[1])
ray.get(ray.remote(lambda: 1).remote())
print("ready", flush=True)
time.sleep(600)
PY
cat >"$place/left.py" <<'PY'
import subprocess, sys, psutil

folder = sys.argv[1]
driver = subprocess.Popen([sys.executable, f"{folder}/driver.py", f"{folder}/r"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
driver.stdout.readline()
family = psutil.Process(driver.pid).children(recursive=True)
driver.kill()
driver.wait()
_, left = psutil.wait_procs(family, timeout=10)
agents = [one for one in left if "Agent" in " ".join(one.cmdline())]
by_environment = [one for one in agents if "A_MARK_OF_OURS" in one.environ()]
by_files = [one for one in agents if any(file.path.startswith(f"{folder}/r/") for file in one.open_files())]
for one in left:
    one.kill()
print(len(agents), len(by_environment), len(by_files))
PY
read -r agents by_environment by_files < <(
    A_MARK_OF_OURS=1 RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 "$place/venv/bin/python" "$place/left.py" "$place"
)
echo "ray 2.60.0, agents left after SIGKILL of the driver: $agents; found by environment $by_environment, by open files $by_files"
[[ $agents -eq 2 && $by_environment -eq 0 && $by_files -eq 2 ]]
