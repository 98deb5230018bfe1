#!/bin/sh
# boot.sh DIR: boots a copy-on-write view of base.sh's image with systemd, with DIR/files added to it. It runs in its
# own namespaces, so all mounts and processes end with it. DIR/cgroup has the path of an empty control group. The
# machine's interface eth0 is connected to the interface `network`, where nothing answers.
set -eu
cd "$1"
if [ "${2-}" != moved ]; then
	echo 0 >"$(cat cgroup)/cgroup.procs"
	exec unshare --cgroup sh -c "$(cat boot.sh)" boot "$1" moved
fi
mkdir upper work root
mount -t overlay -o lowerdir=files:/dev/shm/image,upperdir=upper,workdir=work overlay root
mount -t proc proc root/proc
mount --bind root/proc/sys root/proc/sys
mount --bind root/proc/sys/net root/proc/sys/net # of its own network namespace
mount -o remount,bind,ro root/proc/sys           # of the host
mount -t sysfs -o ro sysfs root/sys
mount -t tmpfs -o mode=755 tmpfs root/sys/fs/cgroup
case $(cat cgroup) in
/sys/fs/cgroup/systemd/*)
	mkdir root/sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup root/sys/fs/cgroup/systemd
	mount -o remount,ro root/sys/fs/cgroup # systemd must not mount the other hierarchies, which are the host's
	;;
*) mount -t cgroup2 cgroup2 root/sys/fs/cgroup ;;
esac
mount -t tmpfs -o mode=755 tmpfs root/run
mount -t tmpfs -o mode=755 tmpfs root/dev
mkdir root/dev/shm root/dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts root/dev/pts
ln -s pts/ptmx root/dev/ptmx
ln -s /proc/self/fd root/dev/fd
for device in null zero full random urandom tty; do
	touch "root/dev/$device"
	mount --bind "/dev/$device" "root/dev/$device"
done
touch root/dev/console
ip link add eth0 type veth peer name network
ip link set network up
exec env -i PATH=/usr/sbin:/usr/bin container=guest chroot root /lib/systemd/systemd
