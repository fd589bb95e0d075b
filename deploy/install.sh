#!/bin/bash
# Make the machine ready: units, driver, disk, packages, job. The watchdog runs before anything that could hang; a
# failure here is one of modelpick-setup.service, whose OnFailure ends the machine.
set -euo pipefail

root=${MODELPICK_ROOT:-}
home="$root/opt/modelpick"
guest="$home/deploy/guest"
pause=${MODELPICK_RETRY_SECONDS:-10}
# CUDA 13, which the locked torch is built for, needs a driver of branch 580 (CUDA Toolkit release notes, table 2).
least_driver=580

step() { echo "$1" | tee "$root/run/modelpick/step"; }
fail() {
  step "$1"
  exit 1
}
stage() {
  step "$2"
  python3 "$guest/report.py" stage "$1" || echo "the stage could not be reported"
}

mkdir -p "$home/run" "$home/data" "$home/results" "$root/etc/systemd/system"
cp "$home"/deploy/units/*.service "$root/etc/systemd/system/"
systemctl daemon-reload
systemctl enable modelpick-watchdog.service
systemctl start modelpick-watchdog.service
# Nobody else installs or restarts anything under a running job (a driver replaced in use stops working).
systemctl stop unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer || echo "no automatic upgrades here"

stage driver "looking for the GPU"
for try in 1 2 3 4 5 6; do # a driver may still be loading when the machine is up
  timeout 120 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader >"$home/run/gpus" && break
  [ "$try" -lt 6 ] || fail "no working GPU driver"
  sleep "$pause"
done
[ -s "$home/run/gpus" ] || fail "no GPU"
driver=$(head -n 1 "$home/run/gpus" | sed 's/.*, *//')
if [ -s "$home/requirements.lock" ] && [ "${driver%%.*}" -lt "$least_driver" ]; then
  fail "driver $driver is too old for the locked packages, which need $least_driver"
fi

# Weights go to the instance's own NVMe where it has one (fast, free, gone with the machine): the image mounts it, and
# takes its time to. Without one, to the root disk, which the plan made large enough.
scratch="$root/opt/dlami/nvme"
if compgen -G "$root/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*" >/dev/null; then
  for _ in 1 2 3 4 5 6; do
    mountpoint -q "$scratch" && break
    sleep "$pause"
  done
fi
free() { df --output=avail "$1" 2>/dev/null | tail -n 1 || echo 0; }
# Where both lie on one disk the two figures may differ by what is written meanwhile: only a GiB more counts.
if [ ! -d "$scratch" ] || [ "$(free "$scratch")" -lt $(($(free "$home") - 1048576)) ]; then
  scratch="$home/scratch"
fi
mkdir -p "$scratch/hub" "$scratch/tmp"
{
  echo "HF_HOME=$scratch/hub"
  echo "TMPDIR=$scratch/tmp"
} >"$home/run/job.env"
echo "weights in $scratch, $(($(free "$scratch") / 1048576)) GiB free"

# environment DIR LOCK: a virtual environment with what LOCK says, every file checked by its hash.
environment() {
  python3 -m venv "$1"
  if [ -s "$2" ]; then
    TMPDIR="$scratch/tmp" timeout 2400 "$1/bin/pip" install --quiet --disable-pip-version-check \
      --cache-dir "$scratch/tmp/pip" --require-hashes --only-binary :all: -r "$2"
  fi
}
stage packages "installing the packages"
# What Ubuntu keeps in packages of their own: pip's bootstrap, and the headers that Triton compiles against.
if ! python3 -c 'import ensurepip, os, sysconfig; os.stat(sysconfig.get_paths()["include"] + "/Python.h")' 2>/dev/null; then
  timeout 300 apt-get -o DPkg::Lock::Timeout=240 update -q || echo "apt-get update failed"
  timeout 600 apt-get -o DPkg::Lock::Timeout=240 install -qy python3-venv python3-dev || echo "apt-get install failed"
fi
environment "$home/venv" "$home/requirements.lock"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps "$home"/wheel/*.whl
if [ -s "$home/vllm/requirements.lock" ]; then
  step "installing vLLM, in an environment of its own"
  environment "$scratch/vllm" "$home/vllm/requirements.lock"
  echo "MODELPICK_VLLM=$scratch/vllm/bin/vllm" >>"$home/run/job.env"
fi
rm -rf "$scratch/tmp/pip"

stage job "starting the job"
systemctl enable modelpick-job.service
systemctl start modelpick-job.service
touch "$home/run/installed"
