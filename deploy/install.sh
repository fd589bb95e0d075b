#!/bin/bash
# Make the machine ready: gate on the driver, then units; the watchdog runs before anything that could hang.
set -euo pipefail

root=${MODELPICK_ROOT:-}
home="$root/opt/modelpick"
set -a
# shellcheck source=/dev/null
. "$root/etc/modelpick.env"
set +a
guest="$home/deploy/guest"

stage() { python3 "$guest/report.py" stage "$1" "${2:-}"; }
give_up() {
  trap - ERR
  stage failed "$1"
  exec python3 "$guest/watchdog.py" --end "$1"
}
trap 'give_up "installation failed at line $LINENO"' ERR

mkdir -p "$home/run" "$home/data" "$home/results" "$root/etc/systemd/system"
python3 "$guest/report.py" suspend # nothing may replace a machine that ends itself, whoever started it has died or not
cp "$home"/deploy/units/*.service "$root/etc/systemd/system/"
systemctl daemon-reload
systemctl enable --now modelpick-watchdog.service

stage driver
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader >"$home/run/gpus" || give_up "no working GPU driver"
[ -s "$home/run/gpus" ] || give_up "no GPU"

# Weights go to the instance's own NVMe where it has one: fast, free, and gone with the machine.
scratch="$root/opt/dlami/nvme"
[ -d "$scratch" ] || scratch="$home/scratch"
mkdir -p "$scratch/hub"
{
  echo "HF_HOME=$scratch/hub"
  echo "TMPDIR=$scratch"
} >"$home/run/job.env"

stage packages
python3 -m venv "$home/venv"
if [ -s "$home/requirements.lock" ]; then
  "$home/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$home/requirements.lock"
fi
"$home/venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps "$home"/wheel/*.whl

stage job
systemctl enable --now modelpick-job.service
