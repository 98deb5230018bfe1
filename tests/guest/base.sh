#!/bin/sh
# base.sh IMAGE: mounts IMAGE beside an empty tmpfs for all runs. It is started in a mount namespace of its own, which
# lasts until standard input ends and the last run has ended.
set -eu
mount -t tmpfs tmpfs /dev/shm
mkdir /dev/shm/image /dev/shm/runs /dev/shm/large
mount -t squashfs -o loop,ro "$1" /dev/shm/image
echo ready
exec cat
