#!/usr/bin/env bash
# Ray 2.60.0 on Linux: which addresses its processes listen on.
#
# Guess: ray.init(_node_ip_address="127.0.0.1") keeps Ray to the loopback, or nothing does, for no option is documented.
# Seen: _node_ip_address alone does not; GCS, raylet and workers listen on every address. With
# RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, whose name speaks of other systems, every TCP listener is on the loopback.
# Exits with 1 where that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray==2.60.0" "psutil==7.2.2"
cat >"$place/listeners.py" <<'PY'
import sys, ipaddress, psutil, ray

options = {"_node_ip_address": "127.0.0.1"} if sys.argv[1] == "node-ip" else {}
ray.init(address="local", include_dashboard=False, num_cpus=1, object_store_memory=80 * 2**20, log_to_driver=False,
         logging_level="error", _temp_dir=sys.argv[2], **options)
ray.get(ray.remote(lambda: 1).remote())
me, open_to_others = psutil.Process(), 0
for process in (me, *me.children(recursive=True)):
    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:
        continue
    for one in sockets:
        address = ipaddress.ip_address(one.laddr.ip) if one.status == psutil.CONN_LISTEN else None
        if address is not None:
            address = getattr(address, "ipv4_mapped", None) or address
            open_to_others += not address.is_loopback
ray.shutdown()
print(open_to_others)
PY
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
run() { "$place/venv/bin/python" "$place/listeners.py" "$@" 2>/dev/null | tail -n 1; }
plain=$(run plain "$place/a")
node_ip=$(run node-ip "$place/b")
setting=$(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 run plain "$place/c")
echo "ray 2.60.0, TCP listeners beyond the loopback: plain $plain, _node_ip_address=127.0.0.1 $node_ip, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 $setting"
[[ $plain -gt 0 && $node_ip -gt 0 && $setting -eq 0 ]]
