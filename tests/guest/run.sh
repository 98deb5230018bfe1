# run.sh DIR IMAGE CMD...: runs CMD in a copy-on-write view of IMAGE with DIR/files laid over it. It is started in mount and
# PID namespaces of its own, which take all mounts and processes with them.
set -eu
dir=$1 image=$2
shift 2
cd "$dir"
mkdir image rw root
mount -t squashfs -o loop,ro "$image" image
mount -t tmpfs tmpfs rw
mkdir rw/upper rw/work
mount -t overlay -o lowerdir=files:image,upperdir=rw/upper,workdir=rw/work overlay root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/dev
for device in null zero full random urandom; do
	touch "root/dev/$device"
	mount --bind "/dev/$device" "root/dev/$device"
done
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 chroot root "$@"
