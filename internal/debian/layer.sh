#!/bin/sh
# layer.sh IMAGE LAYER RECIPE PACKAGE...: installs the packages in a copy-on-write view of IMAGE, runs RECIPE/customize,
# and writes the new files to LAYER. RECIPE has apt.conf and sources.list. The script runs in its own mount and PID
# namespaces, so all mounts end with it.
set -eu
image=$1 layer=$2
cd "$3"
shift 3
mkdir image new root
mount -t squashfs -o loop,ro "$image" image
mount -t tmpfs tmpfs new
mkdir new/upper new/work
mount -t overlay -o lowerdir=image,upperdir=new/upper,workdir=new/work overlay root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/dev
for device in null zero full random urandom; do
	touch "root/dev/$device"
	mount --bind "/dev/$device" "root/dev/$device"
done

# Like mmdebstrap, this runs the host's apt, with the host's package lists.
export APT_CONFIG="$PWD/apt.conf" DEBIAN_FRONTEND=noninteractive LANG=C
cat >>apt.conf <<END
Dir "$PWD/root";
Dir::Etc::SourceList "$PWD/sources.list";
Dir::State::Lists "/var/lib/apt/lists";
DPkg::Chroot-Directory "$PWD/root";
APT::Get::List-Cleanup "false";
APT::Install-Recommends "false";
END
install() { apt-get --quiet --yes install "$@"; }
install "$@" || { apt-get --quiet update && install "$@"; }
rm -rf root/var/cache/apt/*

sh "$PWD/customize" "$PWD/root"
umount root/proc root/dev/* root/dev root
mksquashfs new/upper "$layer" -comp zstd -Xcompression-level 3 -no-progress
