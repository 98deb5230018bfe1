package templates

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/guest"
)

// pullDisk is the beginning of a script that runs containerd on a disk, and cuts its power.
const pullDisk = `
	truncate --size 256M /disk
	mkfs.ext4 -q /disk
	mknod /dev/loop-control c 10 237
	for n in $(seq 0 255); do mknod /dev/loop$n b 7 $n; done
	mkdir /mnt/disk /mnt/image /var/lib/containerd
	boot() {
		mount -o loop /disk /mnt/disk
		for folder in /var/lib/containerd /opt; do
			mkdir -p /mnt/disk$folder
			mount --bind /mnt/disk$folder $folder
		done
		mkdir -p /opt/calico
		containerd >/log 2>&1 & containerd=$!
		until ctr version >/dev/null 2>&1; do sleep 0.1; done
	}
	# stops the filesystem: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH
	power_cut() {
		python3 -c 'import fcntl, os, struct
fcntl.ioctl(os.open("/mnt/disk", os.O_RDONLY), 0x8004587d, struct.pack("I", 2))'
		kill -9 $containerd
		wait || true
		umount /var/lib/containerd /opt /mnt/disk
	}
	boot
`

// TestPulledImagesAfterAPowerFailure cuts the power of the disk of a real containerd after it has unpacked a layer. At
// the next boot, the layer is complete. containerd records a layer durably, and its files only on request.
func TestPulledImagesAfterAPowerFailure(t *testing.T) {
	t.Parallel()
	layer := func(files map[string]string) v1.Layer {
		contents := map[string][]byte{}
		for name, content := range files {
			contents[name] = []byte(content)
		}
		layer, err := crane.Layer(contents)
		require.NoError(t, err)
		return layer
	}
	second := layer(map[string]string{"opt/cni/bin/calico-ipam": "",
		"etc/calico/confd/templates/bird_ipam.cfg.template": "  if ( net ~ {{$cidr}} ) then { accept; }\n"})
	held, err := second.Digest()
	require.NoError(t, err)
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	require.NoError(t, err)
	image, err := mutate.AppendLayers(base, layer(map[string]string{"opt/cni/bin/calico": "a program\n"}), second)
	require.NoError(t, err)

	for name, test := range map[string]struct {
		hold         bool // the first request for the second layer gets no response
		script, want string
	}{
		"of a pod": { // PullImage of the CRI, with a PullImageRequest that has only the name of the image
			script: `
				image=quay.io/calico/node:v3.28.5
				printf '\0\0\0\0\037\n\035\n\033%s' $image | curl --silent --show-error --http2-prior-knowledge \
					--unix-socket /run/containerd/containerd.sock --data-binary @- --output /dev/null \
					--header 'content-type: application/grpc' --header 'te: trailers' \
					http://localhost/runtime.v1.ImageService/PullImage
				power_cut
				boot
				ctr --namespace k8s.io images mount $image /mnt/image >/dev/null
				cat /mnt/image/opt/cni/bin/calico`,
			want: "a program\n",
		},
		"of calico-image, between two layers": {
			hold: true,
			script: `
				calico-image 3.28.5 & install=$!
				until ctr --namespace calico snapshots ls | grep -q Committed; do sleep 0.1; done
				power_cut
				boot
				calico-image 3.28.5
				cat /opt/cni/bin/calico`,
			want: "installed /opt/calico/node\na program\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requested atomic.Bool
			handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
			mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.hold && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, held.String()) &&
					!requested.Swap(true) {
					<-r.Context().Done() // until containerd is killed
					return
				}
				handler.ServeHTTP(w, r)
			}))
			defer mirror.Close()
			for _, name := range []string{"cni", "node"} {
				require.NoError(t, crane.Push(image, strings.TrimPrefix(mirror.URL, "http://")+"/calico/"+name+":v3.28.5"))
			}
			m := workerMachine()
			m.Plan.Artifacts.RegistryMirrors["quay.io"] = mirror.URL
			files := containerd(t, m)
			files["/usr/local/bin/systemd-tmpfiles"] = "#!/bin/sh\n"
			out, err := guest.Run(t, files, "bash", "-euc", pullDisk+test.script)
			require.NoError(t, err, out)
			require.Contains(t, out, test.want)
		})
	}
}
