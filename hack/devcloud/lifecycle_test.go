//go:build e2e

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	neutronports "github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/turns"
)

// program is the path of devcloud's executable, which TestE2ELifecycle builds.
var program string

// floatingIP is the floating IP of the instance m1.
var floatingIP string

// devcloud runs a command of devcloud and returns its output.
func devcloud(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command(program, args...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("devcloud %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// inside runs a shell line in an instance.
func inside(t *testing.T, instance, line string) string {
	t.Helper()
	return strings.TrimSpace(devcloud(t, "exec", instance, "--", line))
}

// killUp starts `up` and kills it with SIGKILL when the condition is true. The box, if it exists, keeps running.
func killUp(t *testing.T, condition func() bool) {
	t.Helper()
	up := exec.Command(program, "up")
	up.Stderr = os.Stderr
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Minute); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("up has not reached the point of the kill")
		}
	}
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil {
		t.Fatal("up ended before it was killed")
	}
}

// TestE2ELifecycle starts, kills, stops and purges its own devcloud. It does so in its own network namespace, in which
// the ports are free even while other suites use another devcloud on the machine.
func TestE2ELifecycle(t *testing.T) {
	t.Parallel()
	const inside = "DEVCLOUD_TEST_INSIDE" // the state folder of the other devcloud
	other := os.Getenv(inside)
	if other == "" {
		skipUnchanged(t)
		command := exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh",
			// the timeout of the Makefile, because it waits for turns
			os.Args[0], "-test.run", "^TestE2ELifecycle$", "-test.v", "-test.timeout", "80m")
		command.Env = append(os.Environ(), inside+"="+state(), "XDG_STATE_HOME="+t.TempDir())
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	program = filepath.Join(t.TempDir(), "devcloud")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	before := host(t, other)
	part := func(name string, f func(*testing.T)) { // in parallel with steps of other suites
		turns.SkipLate(t, name)
		defer turns.Shared(t)()
		t.Run(name, f)
	}

	part("up succeeds after a kill of the first up", func(t *testing.T) {
		snapshots, err := filepath.Glob(dirs.Cache("devcloud", "snapshot-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, snapshot := range snapshots {
			os.RemoveAll(snapshot)
		}
		killUp(t, func() bool { return unitState("neutron-db") == starting })
		devcloud(t, "up")
		devcloud(t, "status")
	})
	ctx := context.Background()
	client := tenantClient(t, ctx)
	part("an instance has network, volume and mirror", func(t *testing.T) { createMachine(t, ctx, client) })
	part("an object is stored", func(t *testing.T) {
		swift := objectStorage(t, client)
		require.NoError(t, containers.Create(ctx, swift, "kept", nil).Err)
		upload(t, swift, "kept", "object", "before")
	})
	part("the router imports the routes of machines in the rack", func(t *testing.T) {
		createRackMachines(t, ctx, client)
		checkRack(t)
	})

	part("up is idempotent", func(t *testing.T) { devcloud(t, "up") })
	part("status reports a killed box, and up names a port in use", func(t *testing.T) {
		var record Record
		if err := load("record.json", &record); err != nil {
			t.Fatal(err)
		}
		if err := record.Init.kill(time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.Command(program, "status").Output(); err == nil {
			t.Error("status of a killed devcloud must fail")
		}
		defer occupy(t, "127.0.0.1:9292").Close()
		if output, err := exec.Command(program, "up").CombinedOutput(); err == nil ||
			!strings.Contains(string(output), "port 9292") {
			t.Errorf("up while port 9292 is in use: %v\n%s", err, output)
		}
	})
	part("up refuses the data of a version with other services", func(t *testing.T) {
		var kept Kept
		require.NoError(t, load("kept.json", &kept))
		defer func() { require.NoError(t, save("kept.json", kept)) }()
		require.NoError(t, save("kept.json", Kept{kept.Compute, kept.Image, "another", ""}))
		output, err := exec.Command(program, "up").CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(output), "run `go run ./hack/devcloud down --purge` first")
	})
	// in three parts, so that a step that runs alone does not wait for all of them
	part("down succeeds after a kill of up", func(t *testing.T) {
		killUp(t, func() bool { return unitState("neutron-server") == starting })
		devcloud(t, "down")
	})
	part("up replaces the image", func(t *testing.T) {
		var kept, replaced Kept
		if err := errors.Join(load("kept.json", &kept),
			save("kept.json", Kept{kept.Compute, "image-older.sqfs", kept.Catalogue, ""})); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		devcloud(t, "up")
		if err := load("kept.json", &replaced); err != nil || replaced != kept {
			t.Errorf("%+v %v", replaced, err)
		}
		glance, err := openstack.NewImageV2(client, inRegion)
		if err != nil {
			t.Fatal(err)
		}
		image, err := images.Get(ctx, glance, imageID).Extract()
		if err != nil || image.Status != images.ImageStatusActive || image.CreatedAt.Before(before.Truncate(time.Second)) {
			t.Errorf("%+v %v", image, err)
		}
	})
	part("instances run again after kills and a replaced image", func(t *testing.T) {
		checkMachine(t)
		checkRack(t)
		require.Equal(t, "before", download(t, objectStorage(t, client), "kept", "object"))
	})

	part("down --purge leaves nothing", func(t *testing.T) {
		for range 2 { // the second one has nothing to do
			devcloud(t, "down", "--purge")
		}
		for kind, want := range before {
			got := want
			for range 20 { // another devcloud on the machine may be running a command
				if got = host(t, other)[kind]; got == want {
					break
				}
				time.Sleep(time.Second)
			}
			if got != want {
				t.Errorf("%s: before\n%s\nafter\n%s", kind, want, got)
			}
		}
	})
}

func unitState(name string) string {
	var units []Unit
	if load("run/units.json", &units) == nil {
		for _, unit := range units {
			if unit.Name == name {
				return unit.State
			}
		}
	}
	return ""
}

func tenantClient(t *testing.T, ctx context.Context) *gophercloud.ProviderClient {
	t.Helper()
	client, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: identityURL,
		AllowReauth: true,
		Username:    tenant, Password: password, TenantName: tenant, DomainName: "Default"})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

const machineData = "#cloud-config\nwrite_files:\n- {path: /root/was-here, content: by cloud-init}\n"

// createMachine creates, as the tenant, an instance m1 with a volume, in a network behind a router.
func createMachine(t *testing.T, ctx context.Context, client *gophercloud.ProviderClient) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	neutron, err := openstack.NewNetworkV2(client, inRegion)
	must(err)
	nova, err := openstack.NewComputeV2(client, inRegion)
	must(err)
	cinder, err := openstack.NewBlockStorageV3(client, inRegion)
	must(err)

	network, err := networks.Create(ctx, neutron, networks.CreateOpts{Name: "m"}).Extract()
	must(err)
	subnet, err := subnets.Create(ctx, neutron,
		subnets.CreateOpts{NetworkID: network.ID, IPVersion: 4, CIDR: "10.77.0.0/24"}).Extract()
	must(err)
	router, err := routers.Create(ctx, neutron,
		routers.CreateOpts{Name: "m", GatewayInfo: &routers.GatewayInfo{NetworkID: networkID}}).Extract()
	must(err)
	_, err = routers.AddInterface(ctx, neutron, router.ID, routers.AddInterfaceOpts{SubnetID: subnet.ID}).Extract()
	must(err)
	volume, err := volumes.Create(ctx, cinder, volumes.CreateOpts{Size: 1, Name: "m1"}, nil).Extract()
	must(err)

	pages, err := flavors.ListDetail(nova, nil).AllPages(ctx)
	must(err)
	all, err := flavors.ExtractFlavors(pages)
	must(err)
	server := servers.CreateOpts{Name: "m1", ImageRef: imageID, Networks: []servers.Network{{UUID: network.ID}},
		UserData: []byte(machineData)}
	for _, flavor := range all {
		if flavor.Name == "etcd" {
			server.FlavorRef = flavor.ID
		}
	}
	created, err := servers.Create(ctx, nova, server, nil).Extract()
	must(err)
	wait, cancel := context.WithTimeout(ctx, turns.Patience*3*time.Minute)
	defer cancel()
	for created.Status != "ACTIVE" {
		time.Sleep(500 * time.Millisecond)
		created, err = servers.Get(wait, nova, created.ID).Extract()
		must(err)
		if created.Status == "ERROR" {
			t.Fatalf("instance: %+v", created.Fault)
		}
	}
	must(volumes.WaitForStatus(wait, cinder, volume.ID, "available"))
	_, err = volumeattach.Create(ctx, nova, created.ID, volumeattach.CreateOpts{VolumeID: volume.ID}).Extract()
	must(err)
	must(volumes.WaitForStatus(wait, cinder, volume.ID, "in-use"))

	found, err := neutronports.List(neutron, neutronports.ListOpts{DeviceID: created.ID}).AllPages(ctx)
	must(err)
	port, err := neutronports.ExtractPorts(found)
	must(err)
	_, err = rules.Create(ctx, neutron, rules.CreateOpts{SecGroupID: port[0].SecurityGroups[0],
		Direction: rules.DirIngress,
		EtherType: rules.EtherType4, Protocol: rules.ProtocolTCP, PortRangeMin: 22, PortRangeMax: 22}).Extract()
	must(err)
	ip, err := floatingips.Create(ctx, neutron,
		floatingips.CreateOpts{FloatingNetworkID: networkID, PortID: port[0].ID}).Extract()
	must(err)
	floatingIP = ip.FloatingIP

	inside(t, "m1", "cloud-init status --wait")
	inside(t, "m1", fmt.Sprintf("mkfs.ext4 -q /dev/disk/by-id/virtio-%.20s && echo kept > /root/kept && sync", volume.ID))
	checkMachine(t)
}

// retryingCurl is the beginning of a command that waits for a server. Without --retry-delay, curl would double its
// pause after each attempt.
const retryingCurl = "curl -sf --retry 60 --retry-delay 1 --retry-all-errors "

// checkMachine checks the instance m1 from inside.
func checkMachine(t *testing.T) {
	t.Helper()
	inside(t, "m1",
		"for i in $(seq 60); do systemctl is-system-running | grep -qE 'running|degraded' && break; sleep 1; done")
	if got := inside(t, "m1", "hostname; cat /root/was-here"); got != "m1\nby cloud-init" {
		t.Errorf("the instance printed %q", got)
	}
	inside(t, "m1", "blkid -t TYPE=ext4 /dev/disk/by-id/virtio-*")

	file := dirs.Mirror("devcloud-test")
	if err := os.WriteFile(file, []byte("from the mirror"), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	if got := inside(t, "m1",
		retryingCurl+"http://"+externalGateway+"/devcloud-test"); got != "from the mirror" {
		t.Errorf("the mirror returned %q", got)
	}
	inside(t, "m1", "curl -sf http://"+externalGateway+"/registry.example/v2/") // the mirror is also a registry
	inside(t, "m1",
		retryingCurl+"http://169.254.169.254/openstack/latest/meta_data.json | grep -q "+
			"'\"availability_zone\": \"nova\"'")
	for begin := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		greeting, err := throughProxy(net.JoinHostPort(floatingIP, "22"))
		if strings.HasPrefix(greeting, "SSH-2.0") {
			break
		}
		if time.Since(begin) > turns.Patience*time.Minute {
			t.Errorf("the floating IP sent %q through the proxy: %v", greeting, err)
			break
		}
	}

	var record Record
	if err := load("record.json", &record); err != nil {
		t.Fatal(err)
	}
	if routes, err := record.enter("ip", "route", "show", "default").Output(); err != nil || len(routes) > 0 {
		t.Errorf("the box must have no default route: %s %v", routes, err)
	}
}

// throughProxy connects to an address through the proxy, and returns the first line that the address sends.
func throughProxy(address string) (line string, err error) {
	connection, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(proxyPort)))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if _, err := fmt.Fprintf(connection, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", address); err != nil {
		return "", err
	}
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", errors.New(response.Status)
	}
	return reader.ReadString('\n')
}

// host returns everything that a devcloud could change on the machine, by kind. It leaves out the loop devices of the
// devcloud with the state folder other, because other suites create and delete them. A device belongs to that devcloud
// if its file does, independent of the file's path.
func host(t *testing.T, other string) map[string]string {
	t.Helper()
	found := map[string]string{}
	others := loopsOf(t, other)
	for kind, line := range map[string]string{
		"processes":  "readlink /proc/[0-9]*/exe | grep --fixed-strings " + program + " || true",
		"mounts":     "cat /proc/self/mounts",
		"namespaces": "grep --files-with-matches --fixed-strings " + state() + " /proc/[0-9]*/mountinfo 2>/dev/null || true",
		"network":    "ip -oneline link; ip -oneline address; ip route; ip netns; ls /run/netns 2>/dev/null || true",
		"firewall":   "iptables-save 2>/dev/null; ip6tables-save 2>/dev/null; nft list ruleset 2>/dev/null || true",
		// tests of templates may mount the machines' image at the same time
		"loop devices": "losetup --raw --list --noheadings --output NAME,BACK-FILE " +
			"| grep --invert-match -e /devcloud/image- -e /devcloud/centos- -e /devcloud/official- | sort",
		"cgroups": "find /sys/fs/cgroup -maxdepth 2 -type d | sort",
		"sysctls": "sysctl -a 2>/dev/null | grep -vE " +
			"'^(fs.(dentry|inode|file-nr|quota)|kernel.(random|ns_last_pid|pty.nr|perf|sched)|vm.stat" +
			"|net.netfilter.nf_conntrack_count|.*netdev_rss)'",
		"modules":  "cut -d' ' -f1 /proc/modules 2>/dev/null | sort || true",
		"packages": "dpkg-query --show",
		"files": "find /etc /usr /var/lib /run /opt /srv -xdev -newer " + program +
			" -not -type d 2>/dev/null | grep -vE '^/(run/|var/lib/apt/)' | sort; ls /run",
		"state folder": "ls -A " + state() + " 2>/dev/null || true",
	} {
		output, err := exec.Command("sh", "-c", line).Output()
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		found[kind] = string(output)
	}
	others = append(others, loopsOf(t, other)...) // some may have been created meanwhile
	var ours []string
	for line := range strings.Lines(found["loop devices"]) {
		if !slices.Contains(others, strings.Fields(line)[0]) {
			ours = append(ours, line)
		}
	}
	found["loop devices"] = strings.Join(ours, "")
	return found
}

// occupy listens at an address that a killed process may still have. Its sockets can close after its end.
func occupy(t *testing.T, address string) net.Listener {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return listener
		}
		sockets, _ := exec.Command("ss", "--all", "--tcp", "--numeric", "--processes").CombinedOutput()
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%v\n%s", err, sockets)
		}
		t.Logf("after %s: %v\n%s", time.Since(begin), err, sockets)
	}
}
