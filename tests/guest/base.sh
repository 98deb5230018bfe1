#!/bin/sh
# base.sh IMAGE: mounts IMAGE and an empty tmpfs for all runs. It runs in its own mount namespace, which exists until
# standard input ends and the last run has ended.
set -eu
mount -t tmpfs tmpfs /dev/shm
mkdir /dev/shm/image /dev/shm/runs /dev/shm/large
mount -t squashfs -o loop,ro "$1" /dev/shm/image
echo ready
exec cat
