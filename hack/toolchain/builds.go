package main

import (
	"strings"

	"kubernetes-openstack/cluster"
)

// A build is one folder of the cache, made of programs.
type build struct {
	name     string
	programs []programs
	images   []image
	archive  archive                // of the folder parts; the zero archive for none
	place    func(dir string) error // puts the built folder to use
	forTests bool                   // a cluster does without it: only tests and benchmarks ask for it
	// artifacts are the files of the built folder that machines download, by their names in package cluster.
	artifacts map[string]string
}

// programs are the Go binaries that one `go build` makes of one module. In texts, {version} is the version of versionOf
// in the module's go.mod, {major} and {minor} are its parts, {arch} is GOARCH.
type programs struct {
	module    string            // folder beside this file, or repository
	packages  map[string]string // by the program's name
	folder    string            // in the build's folder
	versionOf string            // Go module, of which the programs are a part or the counterpart; "" for none
	version   string            // where the module's is another or there is no such module; "" otherwise
	stamps    []string          // variable=value for the linker
	tags      string
	cgo       bool
}

// repository is the module that this file is in itself.
const repository = "../.."

// parts is the folder, in a build's, of what is only a part of its archive or images. It goes when they are made.
const parts = "parts"

var builds = []build{pulumi, plugins, etcd, kubernetes, kubeadm, containerd, runc, cni, calico, coredns, images,
	openstack, provisioner, attacher, resizer, snapshotter, registrar, livenessprobe, sanity, own}

const pulumiVersion = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}"

var pulumi = build{
	name:  "pulumi",
	place: linkHome("bin"),
	programs: []programs{
		{
			module:    "pulumi",
			packages:  map[string]string{"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
			versionOf: "github.com/pulumi/pulumi/pkg/v3",
			stamps:    []string{pulumiVersion},
		},
		{ // beside pulumi, which finds it there even where it ignores PATH
			module:    "language-go",
			packages:  map[string]string{"pulumi-language-go": "github.com/pulumi/pulumi/sdk/v3/go/pulumi-language-go"},
			versionOf: "github.com/pulumi/pulumi/sdk/v3",
			stamps:    []string{pulumiVersion},
		},
	},
}

// The plugins have the version of the SDK that calls them: the engine takes no other.
var plugins = build{
	name:  "plugins",
	place: linkHome("plugins"),
	programs: []programs{
		{
			module:    "plugins",
			packages:  map[string]string{"pulumi-resource-openstack": "./pulumi-resource-openstack"},
			folder:    "resource-openstack-v{version}",
			versionOf: "github.com/pulumi/pulumi-openstack/sdk/v3",
			stamps:    []string{"main.version={version}"},
		},
		{
			module:    "plugins",
			packages:  map[string]string{"pulumi-resource-tls": "./pulumi-resource-tls"},
			folder:    "resource-tls-v{version}",
			versionOf: "github.com/pulumi/pulumi-tls/sdk/v5",
			stamps:    []string{"main.version={version}"},
		},
		{
			module:    "plugins",
			packages:  map[string]string{"pulumi-resource-kubernetes": "./pulumi-resource-kubernetes"},
			folder:    "resource-kubernetes-v{version}",
			versionOf: "github.com/pulumi/pulumi-kubernetes/sdk/v4",
			stamps:    []string{"main.version={version}"},
		},
	},
}

// What machines download has upstream's address as its path, here and in the mirror. The binaries tell a Git revision:
// the tag is one that stays true when go.mod moves.

const etcdArchive = "github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz"

var etcd = build{
	name:  "etcd",
	place: linkMirror,
	programs: []programs{{
		module: "etcd",
		packages: map[string]string{
			"etcd":    "go.etcd.io/etcd/server/v3",
			"etcdctl": "go.etcd.io/etcd/etcdctl/v3",
			"etcdutl": "go.etcd.io/etcd/etcdutl/v3",
		},
		folder:    parts,
		versionOf: "go.etcd.io/etcd/server/v3",
		stamps:    []string{"go.etcd.io/etcd/api/v3/version.GitSHA=v{version}"},
	}},
	images: []image{{ // by the name that kubeadm asks for, whose etcd is another patch release
		name:   "registry.k8s.io/etcd:3.6.8-0",
		folder: "usr/local/bin",
		files:  []string{parts + "/etcd", parts + "/etcdctl", parts + "/etcdutl"},
	}},
	archive:   archive{path: etcdArchive, members: "etcd-v{version}-linux-{arch}/"},
	artifacts: map[string]string{"etcd": etcdArchive},
}

const kubernetesBinaries = "dl.k8s.io/release/v{version}/bin/linux/{arch}"

var kubernetes = build{
	name:  "kubernetes",
	place: linkTool("dl.k8s.io/release/*/bin/linux/*/kubectl"),
	programs: []programs{
		kubernetesPrograms("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
	},
	images: []image{
		kubernetesImage("kube-apiserver"),
		kubernetesImage("kube-controller-manager"),
		kubernetesImage("kube-scheduler"),
	},
	artifacts: map[string]string{
		"kube-apiserver":          kubernetesBinaries + "/kube-apiserver",
		"kube-controller-manager": kubernetesBinaries + "/kube-controller-manager",
		"kube-scheduler":          kubernetesBinaries + "/kube-scheduler",
		"kubelet":                 kubernetesBinaries + "/kubelet",
		"kube-proxy":              kubernetesBinaries + "/kube-proxy",
		"kubectl":                 kubernetesBinaries + "/kubectl",
	},
}

// kubeadm makes the cluster that `make bench` compares ours with.
var kubeadm = build{
	name:     "kubeadm",
	place:    linkMirror,
	programs: []programs{kubernetesPrograms("kubeadm")},
	forTests: true,
}

func kubernetesPrograms(names ...string) programs {
	p := programs{
		module:    "kubernetes",
		packages:  map[string]string{},
		folder:    kubernetesBinaries,
		versionOf: "k8s.io/kubernetes",
		stamps: append(
			kubernetesVersion("k8s.io/client-go/pkg/version"),
			kubernetesVersion("k8s.io/component-base/version")...,
		),
	}
	for _, name := range names {
		p.packages[name] = "k8s.io/kubernetes/cmd/" + name
	}
	return p
}

// kubernetesVersion stamps one of the two packages that tell Kubernetes' version. Unstamped, the build date is 1970.
func kubernetesVersion(pkg string) []string {
	return []string{
		pkg + ".gitVersion=v{version}",
		pkg + ".gitMajor={major}",
		pkg + ".gitMinor={minor}",
		pkg + ".gitCommit=v{version}",
		pkg + ".gitTreeState=clean",
	}
}

// kubernetesImage is an image that kubeadm runs as a static pod.
func kubernetesImage(name string) image {
	return image{
		name:   "registry.k8s.io/" + name + ":v{version}",
		folder: "usr/local/bin",
		files:  []string{kubernetesBinaries + "/" + name},
	}
}

const containerdArchive = "github.com/containerd/containerd/releases/download/v{version}/" +
	"containerd-{version}-linux-{arch}.tar.gz"

var containerd = build{
	name:  "containerd",
	place: linkMirror,
	programs: []programs{{
		module: "containers",
		packages: map[string]string{
			"containerd":              "github.com/containerd/containerd/v2/cmd/containerd",
			"containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"ctr":                     "github.com/containerd/containerd/v2/cmd/ctr",
		},
		folder:    parts,
		versionOf: "github.com/containerd/containerd/v2",
		stamps: []string{
			"github.com/containerd/containerd/v2/version.Version=v{version}",
			"github.com/containerd/containerd/v2/version.Revision=v{version}",
		},
	}},
	archive:   archive{path: containerdArchive, members: "bin/"},
	artifacts: map[string]string{"containerd": containerdArchive},
}

const runcBinary = "github.com/opencontainers/runc/releases/download/v{version}"

// runc is a dynamic binary, unlike upstream's: a static one would change with each update of the host's libc.
var runc = build{
	name:  "runc",
	place: linkMirror,
	programs: []programs{{
		module:    "containers",
		packages:  map[string]string{"runc.{arch}": "github.com/opencontainers/runc"},
		folder:    runcBinary,
		versionOf: "github.com/opencontainers/runc",
		stamps:    []string{"main.gitCommit=v{version}"},
		tags:      "seccomp",
		cgo:       true,
	}},
	artifacts: map[string]string{"runc": runcBinary + "/runc.{arch}"},
}

const cniArchive = "github.com/containernetworking/plugins/releases/download/v{version}/" +
	"cni-plugins-linux-{arch}-v{version}.tgz"

var cni = build{
	name:  "cni-plugins",
	place: linkMirror,
	programs: []programs{{
		module: "containers",
		packages: map[string]string{
			"bandwidth":  "github.com/containernetworking/plugins/plugins/meta/bandwidth",
			"bridge":     "github.com/containernetworking/plugins/plugins/main/bridge",
			"firewall":   "github.com/containernetworking/plugins/plugins/meta/firewall",
			"host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
			"loopback":   "github.com/containernetworking/plugins/plugins/main/loopback",
			"portmap":    "github.com/containernetworking/plugins/plugins/meta/portmap",
			"ptp":        "github.com/containernetworking/plugins/plugins/main/ptp",
			"tuning":     "github.com/containernetworking/plugins/plugins/meta/tuning",
		},
		folder:    parts,
		versionOf: "github.com/containernetworking/plugins",
		stamps:    []string{"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v{version}"},
	}},
	archive:   archive{path: cniArchive, members: "./"},
	artifacts: map[string]string{"cni-plugins": cniArchive},
}

const calicoModule = "github.com/projectcalico/calico"

// The Go module proxy has Calico's release under the name that Go gives its commit.
const calicoVersion = "3.28.5"

const calicoctlBinary = "github.com/projectcalico/calico/releases/download/v{version}"

// calico is what upstream releases as images; docs/contributing/images.md says what differs.
var calico = build{
	name:  "calico",
	place: linkMirror,
	programs: []programs{
		{
			module: "calico",
			packages: map[string]string{
				"calico-node":      calicoModule + "/node/cmd/calico-node",
				"calico":           calicoModule + "/cni-plugin/cmd/calico",
				"install":          calicoModule + "/cni-plugin/cmd/install",
				"kube-controllers": calicoModule + "/kube-controllers/cmd/kube-controllers",
				"check-status":     calicoModule + "/kube-controllers/cmd/check-status",
			},
			folder:    parts,
			versionOf: calicoModule,
			version:   calicoVersion,
			stamps: []string{
				"main.VERSION=v{version}",
				calicoModule + "/node/pkg/lifecycle/startup.VERSION=v{version}",
				calicoModule + "/node/buildinfo.GitVersion=v{version}",
				calicoModule + "/node/buildinfo.GitRevision=v{version}",
			},
		},
		{
			module:    "calico",
			packages:  map[string]string{"calicoctl-linux-{arch}": calicoModule + "/calicoctl/calicoctl"},
			folder:    calicoctlBinary,
			versionOf: calicoModule,
			version:   calicoVersion,
			stamps: []string{
				"main.VERSION=v{version}",
				calicoModule + "/calicoctl/calicoctl/commands.VERSION=v{version}",
				calicoModule + "/calicoctl/calicoctl/commands.GIT_REVISION=v{version}",
				calicoModule + "/calicoctl/calicoctl/commands/common.VERSION=v{version}",
			},
		},
	},
	images: []image{
		{
			name:    "quay.io/calico/node:v{version}",
			root:    "node",
			folder:  "usr/bin",
			files:   []string{parts + "/calico-node"},
			env:     []string{"SVDIR=/etc/service/enabled"},
			command: []string{"start_runit"},
		},
		{
			name:    "quay.io/calico/cni:v{version}",
			folder:  "opt/cni/bin",
			files:   []string{parts + "/calico", parts + "/install"},
			links:   []string{"calico-ipam"}, // the program looks at the name it is called by
			command: []string{"/opt/cni/bin/install"},
		},
		{
			name:       "quay.io/calico/kube-controllers:v{version}",
			folder:     "usr/bin",
			files:      []string{parts + "/kube-controllers", parts + "/check-status"},
			writable:   "status",
			user:       "999",
			entrypoint: []string{"/usr/bin/kube-controllers"},
		},
	},
	artifacts: map[string]string{"calicoctl": calicoctlBinary + "/calicoctl-linux-{arch}"},
}

// coredns has the version that kubeadm asks for.
var coredns = build{
	name:  "coredns",
	place: linkMirror,
	programs: []programs{{
		module:    "coredns",
		packages:  map[string]string{"coredns": "kubernetes-openstack/hack/toolchain/coredns"},
		folder:    parts,
		versionOf: "github.com/coredns/coredns",
		stamps:    []string{"github.com/coredns/coredns/coremain.GitCommit=v{version}"},
	}},
	images: []image{{
		name:       "registry.k8s.io/coredns/coredns:v{version}",
		files:      []string{parts + "/coredns"},
		user:       "65532",
		entrypoint: []string{"/coredns"},
	}},
}

// images are those that are not made of what machines download.
var images = build{
	name:  "images",
	place: linkMirror,
	programs: []programs{{
		module:   "images",
		packages: map[string]string{"pause": "./pause"},
		folder:   parts,
	}},
	images: []image{
		{
			name:    "registry.k8s.io/pause:3.10.2",
			files:   []string{parts + "/pause"},
			command: []string{"/pause"},
		},
		{ // a workload for tests: no upstream has this name
			name:   "devcloud.test/busybox:1.35",
			folder: "bin",
			files:  []string{"/bin/busybox"}, // Debian's busybox-static
			links: strings.Fields("awk base64 basename cat chmod chown cp cut date dd df dirname du echo env expr false find " +
				"grep gzip head hostname httpd id ip kill ln ls md5sum mkdir mount mv nc netstat nslookup ping printf ps pwd " +
				"readlink rm sed seq sh sha256sum sleep sort stat sync tail tar tee test time timeout top touch tr true " +
				"uname uniq wc wget which xargs yes"),
			command: []string{"sh"},
		},
	},
}

const openstackModule = "k8s.io/cloud-provider-openstack"

const openstackBinaries = "github.com/kubernetes/cloud-provider-openstack/releases/download"

// openstack is what makes a cluster's nodes, volumes and users OpenStack's instances, volumes and users.
var openstack = build{
	name:  "cloud-provider-openstack",
	place: linkTool(openstackBinaries + "/*/client-keystone-auth"),
	programs: []programs{
		openstackPrograms(parts, "openstack-cloud-controller-manager", "cinder-csi-plugin", "k8s-keystone-auth"),
		openstackPrograms(openstackBinaries+"/v{version}", "client-keystone-auth"),
	},
	images: []image{
		{
			name:    "registry.k8s.io/provider-os/openstack-cloud-controller-manager:v{version}",
			folder:  "bin",
			files:   []string{parts + "/openstack-cloud-controller-manager"},
			command: []string{"/bin/openstack-cloud-controller-manager"},
		},
		{
			name:    "registry.k8s.io/provider-os/cinder-csi-plugin:v{version}",
			root:    "cinder-csi-plugin",
			folder:  "usr/bin", // which Debian's /bin is a link to
			files:   []string{parts + "/cinder-csi-plugin"},
			command: []string{"/bin/cinder-csi-plugin"},
		},
		{
			name:    "registry.k8s.io/provider-os/k8s-keystone-auth:v{version}",
			folder:  "bin",
			files:   []string{parts + "/k8s-keystone-auth"},
			command: []string{"/bin/k8s-keystone-auth"},
		},
	},
}

func openstackPrograms(folder string, names ...string) programs {
	p := programs{
		module:    "storage",
		packages:  map[string]string{},
		folder:    folder,
		versionOf: openstackModule,
		stamps: []string{
			openstackModule + "/pkg/version.Version=v{version}",
			"k8s.io/component-base/version.gitVersion=v{version}",
		},
	}
	for _, name := range names {
		p.packages[name] = openstackModule + "/cmd/" + name
	}
	return p
}

const csiModule = "github.com/kubernetes-csi/"

// What runs beside a CSI driver, and the controller of snapshots.
var (
	provisioner   = sidecars("external-provisioner/v5", "csi-provisioner")
	attacher      = sidecars("external-attacher/v4", "csi-attacher")
	resizer       = sidecars("external-resizer", "csi-resizer")
	snapshotter   = sidecars("external-snapshotter/v8", "csi-snapshotter", "snapshot-controller")
	registrar     = standIn("csi-node-driver-registrar", "2.15.0")
	livenessprobe = standIn("livenessprobe", "2.17.0")
)

// sidecars is the build of a module's programs by the CSI community's habits: an image of each, which has its name.
func sidecars(module string, names ...string) build {
	p := programs{
		module:    "storage",
		packages:  map[string]string{},
		folder:    parts,
		versionOf: csiModule + module,
		stamps:    []string{"main.version=v{version}"},
	}
	b := build{name: names[0], place: linkMirror}
	for _, name := range names {
		p.packages[name] = csiModule + module + "/cmd/" + name
		b.images = append(b.images, image{
			name:       "registry.k8s.io/sig-storage/" + name + ":v{version}",
			files:      []string{parts + "/" + name},
			entrypoint: []string{"/" + name},
		})
	}
	b.programs = []programs{p}
	return b
}

// standIn is the build of a program of ours, in place of a sidecar that the module proxy refuses; the version is the
// one that cloud-provider-openstack's manifests name.
func standIn(name, version string) build {
	b := sidecars("csi-lib-utils", name)
	b.programs[0].packages[name] = "./" + name
	b.programs[0].version = version
	return b
}

// sanity is the CSI community's test of a driver, a file of the mirror that tests run on a machine.
var sanity = build{
	name:  "csi-sanity",
	place: linkMirror,
	programs: []programs{{
		module:    "storage",
		packages:  map[string]string{"csi-sanity": "./csi-sanity"},
		folder:    "devcloud.test", // no upstream has this name
		versionOf: csiModule + "csi-test/v5",
		stamps:    []string{"main.version=v{version}"},
	}},
	forTests: true,
}

var ownBinaries = strings.TrimPrefix(cluster.ReleaseURL, "https://")

// own is the programs of this repository that control planes run.
var own = build{
	name:  "kubernetes-openstack",
	place: linkMirror,
	programs: []programs{{
		module: repository,
		packages: map[string]string{
			"keystone-webhook": "./cmd/keystone-webhook",
			"node-approver":    "./cmd/node-approver",
			"tenant-sync":      "./cmd/tenant-sync",
		},
		folder:  ownBinaries,
		version: cluster.ProgramsVersion,
	}},
	artifacts: map[string]string{
		"keystone-webhook": ownBinaries + "/keystone-webhook",
		"node-approver":    ownBinaries + "/node-approver",
		"tenant-sync":      ownBinaries + "/tenant-sync",
	},
}
