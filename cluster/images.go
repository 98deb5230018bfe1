package cluster

import (
	"slices"
	"strings"
)

// PauseImage is the image of the container that holds the namespaces of a Pod.
const PauseImage = "registry.k8s.io/pause:3.10.2"

// NodeImages returns the images that nodes pull by themselves, sorted. Pods of the API have further images.
func (c Config) NodeImages() []string {
	images := []string{
		PauseImage,
		"quay.io/calico/cni:v" + c.Calico.Version,
		"quay.io/calico/node:v" + c.Calico.Version,
	}
	if c.Tenancy.Enabled {
		images = append(images, "registry.k8s.io/provider-os/k8s-keystone-auth:v1.36.0")
	}
	slices.Sort(images)
	return images
}

// ImageDigest returns the pinned sha256, in hex, of an image's index of all platforms. It returns "" if none is pinned.
func ImageDigest(image string) string { return digests[strings.TrimPrefix(image, "registry.k8s.io/")] }

// digests contains the sha256 of the images of registry.k8s.io, as their publishers promote them.
var digests = map[string]string{
	"coredns/coredns:v1.14.2": "e7e6440cfd1e919280958f5b5a6ab2b184d385bba774c12ad2a9e1e4183f90d9",
	"pause:3.10.2":            "f548e0e8e3dc1896ca956272154dde3314e8cc4fde0a57577ee9fa1c63f5baf4",
	"sig-storage/csi-node-driver-registrar:v2.15.0": "11f199f6bec47403b03cb49c79a41f445884b213b382582a60710b8c6fdc316a",
	"sig-storage/csi-provisioner:v5.3.0":            "bb057f866177d5f4139a1527e594499cbe0feeb67b63aaca8679dfdf0a6016f9",
	"sig-storage/csi-resizer:v1.14.0":               "5e7cbb63fd497fa913caa21fee1a69f727c220c6fa83c5f8bb0995e2ad73a474",
	"sig-storage/csi-snapshotter:v8.4.0":            "c7e0a3718832b6197ce8b29fefb3fed3d84f4fbcdf08f4606140dbec2566501d",
	"sig-storage/livenessprobe:v2.17.0":             "9b75b9ade162136291d5e8f13a1dfc3dec71ee61419b1bfc112e0796ff8a6aa9",
	"sig-storage/snapshot-controller:v8.4.0":        "b845f4bbc34d70bd84e92f8021f47704df1de3dbabbd8289969651360b39d605",
}
