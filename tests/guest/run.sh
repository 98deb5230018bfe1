#!/bin/sh
# run.sh DIR LAYERS CMD...: runs CMD in a copy-on-write view of LAYERS, which base.sh has mounted, with DIR/files added
# to it. It runs in its own mount and PID namespaces, so all mounts and processes end with it.
set -eu
cd "$1"
layers=$2
shift 2
mkdir upper work root
mount -t overlay -o "lowerdir=files:$layers,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/dev
for device in null zero full random urandom; do
	: >"root/dev/$device"
	mount --bind "/dev/$device" "root/dev/$device"
done
# GOGC=400, because garbage collection takes much of the processor time of Go programs that start
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 GOGC=400 chroot root "$@"
