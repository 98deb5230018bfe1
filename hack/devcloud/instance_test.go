//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/attachinterfaces"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	cloudsyaml "github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	neutronports "github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/turns"
	"kubernetes-openstack/internal/unchanged"
)

// userData lets the test check that cloud-init has run.
const userData = `#cloud-config
write_files:
- path: /etc/e2e
  content: written
runcmd:
- [sh, -c, "echo $(hostname) $(cat /etc/e2e) > /root/ran"]
`

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEGVC8wsoY0l6DZuEHnDuyKyRXTeqHsI9hUzTzfDcPxz e2e"

// TestE2EInstances uses the running cloud in its own project, and removes everything that it creates.
func TestE2EInstances(t *testing.T) {
	skipUnchanged(t)
	c := connect(t, "instances")
	var volume string
	c.step("create network, key pair and volume", func() {
		c.createNetwork()
		c.createKeyPair()
		volume = c.createVolume(volumes.CreateOpts{Size: 1})
	})

	var a, b *instance
	c.step("instances boot and run cloud-init", func() {
		begin := time.Now()
		var wait sync.WaitGroup
		for name, booted := range map[string]**instance{"e2e-a": &a, "e2e-b": &b} {
			wait.Go(func() { *booted = c.boot(name) })
		}
		wait.Wait()
		require.False(t, t.Failed(), "an instance did not boot")
		t.Logf("user-data was done %.1f s after the create request", time.Since(begin).Seconds())
		require.Equal(t, "e2e-a written", a.run("cat /root/ran"))
		require.Contains(t, a.run("ip -brief -4 address show eth0"), a.address+"/24")
		require.Contains(t, a.run("cat /home/debian/.ssh/authorized_keys"), publicKey)
		require.Equal(t, "running", a.run("systemctl is-system-running --wait"))
		require.Regexp(t, `^root:[*!]`, a.run("grep ^root: /etc/shadow"))
		require.NotEqual(t, a.run("cat /etc/machine-id"), b.run("cat /etc/machine-id"))
		require.NotEqual(t, a.run("cat /etc/ssh/ssh_host_ed25519_key.pub"), b.run("cat /etc/ssh/ssh_host_ed25519_key.pub"))
		require.Equal(t, fmt.Sprint(c.flavor.RAM<<20), b.run("cat /sys/fs/cgroup/memory/memory.limit_in_bytes"))
		output, err := servers.ShowConsoleOutput(t.Context(), c.compute, a.ID, servers.ShowConsoleOutputOpts{}).Extract()
		require.NoError(t, err)
		require.Contains(t, output, "Started systemd-logind.service")
	})

	c.step("security groups allow and block connections", func() {
		b.run("systemd-run --quiet python3 -m http.server 8080")
		require.Eventually(t, func() bool { return b.succeeds("curl -sf -o /dev/null 127.0.0.1:8080") }, timeout,
			100*time.Millisecond)
		connects := func(port int) bool {
			return a.succeeds(fmt.Sprintf("timeout 2 bash -c '</dev/tcp/%s/%d'", b.address, port))
		}
		require.True(t, a.pings(b, a.address))
		require.True(t, connects(22))
		require.False(t, connects(8080), "no rule allows this connection")
		c.allow("tcp", 8080)
		require.Eventually(t, func() bool { return connects(8080) }, timeout, 100*time.Millisecond)
	})

	c.step("port security checks source addresses", func() {
		const other = "10.99.0.99"
		pair := func(addresses ...neutronports.AddressPair) {
			_, err := neutronports.Update(t.Context(), c.network, a.port,
				neutronports.UpdateOpts{AllowedAddressPairs: &addresses}).Extract()
			require.NoError(t, err)
		}
		a.run("ip address add " + other + "/24 dev eth0")
		require.False(t, a.pings(b, other), "the address does not belong to the port")
		begin := time.Now()
		pair(neutronports.AddressPair{IPAddress: other})
		require.Eventually(t, func() bool { return a.pings(b, other) }, timeout, 100*time.Millisecond)
		t.Logf("the address pair was active after %.1f s", time.Since(begin).Seconds())
		pair()
		require.Eventually(t, func() bool { return !a.pings(b, other) }, timeout, 100*time.Millisecond)
		a.run("ip address delete " + other + "/24 dev eth0")

		mac := a.run("cat /sys/class/net/eth0/address")
		a.run("ip link set eth0 address 02:00:00:00:00:01")
		require.False(t, a.pings(b, a.address), "the MAC address does not belong to the port")
		a.run("ip link set eth0 address " + mac)
		require.Eventually(t, func() bool { return a.pings(b, a.address) }, timeout, 100*time.Millisecond)
	})

	disk := "/dev/disk/by-id/virtio-" + volume[:20]
	c.step("a volume is attached and detached", func() {
		a.attach(volume)
		require.Equal(t, "/dev/vdb 1073741824", a.run("realpath "+disk+"; blockdev --getsize64 "+disk))
		a.run("mkfs.ext4 -q " + disk + " && mount " + disk + " /mnt && echo kept > /mnt/file")
		a.detach(volume) // without unmount or sync
		require.NotContains(t, c.listBox(), volume, "the machine still has the volume open")
		require.False(t, a.succeeds("mountpoint /mnt"))
		require.False(t, a.succeeds("test -e "+disk+" || test -e /dev/vdb"))
		b.attach(volume)
		require.Equal(t, "kept", b.run("mount "+disk+" /mnt && cat /mnt/file"))
		b.run("umount /mnt")
		b.detach(volume)
		b.attach(volume)
		require.Equal(t, "kept", b.run("mount "+disk+" /mnt && cat /mnt/file"))
	})

	c.step("the metadata service responds", func() {
		var data struct {
			UUID string
			Zone string `json:"availability_zone"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.run("curl -sf http://169.254.169.254/openstack/latest/meta_data.json")),
			&data))
		require.Equal(t, a.ID+" nova", data.UUID+" "+data.Zone)
	})

	compute, storage := c.compute, c.storage
	c.step("application credentials work from an instance", func() {
		c.createRouter()
		_, reader := a.controller("reader")
		_, err := volumes.Get(t.Context(), reader, volume).Extract()
		require.NoError(t, err)
		_, err = volumes.Create(t.Context(), reader, volumes.CreateOpts{Size: 1}, nil).Extract()
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)
		_, member := a.controller("member")
		_, err = volumes.Get(t.Context(), member, volume).Extract()
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "a credential has no implied roles: %v", err)
		c.compute, c.storage = a.controller("member", "reader") // for the steps with volumes
		c.atEnd(func(context.Context) error {
			c.compute, c.storage = compute, storage
			return nil
		})
	})

	c.step("a volume in use is expanded", func() {
		c.storage.Microversion = "3.42"
		require.NoError(t, volumes.ExtendSize(t.Context(), c.storage, volume,
			volumes.ExtendSizeOpts{NewSize: 2}).ExtractErr())
		c.requireVolume(volume, "in-use")
		b.eventually(timeout, func() (string, bool) {
			size := b.run("blockdev --getsize64 " + disk)
			return size, size == "2147483648"
		})
		// A mounted filesystem can be resized only if the host has CAP_SYS_RESOURCE.
		b.run("resize2fs " + disk + " || { umount /mnt; e2fsck -fy " + disk + "; resize2fs " + disk + " && mount " + disk +
			" /mnt; }")
		require.Greater(t, b.run("df --output=size -k /mnt | tail -n 1"), "1900000")
	})

	c.step("a volume in use has snapshots and copies", func() {
		sum := b.run("head -c 50M /dev/urandom > /mnt/random && sync && cd /mnt && sha256sum random")
		begin := time.Now()
		snapshot := c.createSnapshot(volume)
		t.Logf("created a snapshot in %.1f s", time.Since(begin).Seconds())
		b.run("rm /mnt/random && sync")
		begin = time.Now()
		restored := c.createVolume(volumes.CreateOpts{Size: 3, SnapshotID: snapshot})
		t.Logf("created a volume of it in %.1f s", time.Since(begin).Seconds())
		copied := c.createVolume(volumes.CreateOpts{Size: 3, SourceVolID: restored})
		for _, volume := range []string{restored, copied} {
			disk := "/dev/disk/by-id/virtio-" + volume[:20]
			a.attach(volume)
			require.Equal(t, "3221225472", a.run("blockdev --getsize64 "+disk))
			require.Equal(t, sum, a.run("mount "+disk+" /mnt && cd /mnt && sha256sum random"))
			a.run("umount /mnt")
			a.detach(volume)
		}
		c.createSnapshot(copied)
		err := volumes.Delete(t.Context(), c.storage, copied, nil).ExtractErr()
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusBadRequest), "it has a snapshot: %v", err)
	})

	c.step("volumes of a zone that Nova does not have", func() {
		var archived string
		for _, opts := range []volumes.CreateOpts{
			{AvailabilityZone: "archive"}, {VolumeType: "archive"}, {AvailabilityZone: "archive", VolumeType: "archive"},
			{AvailabilityZone: "archive", VolumeType: "standard"},
		} {
			opts.Size = 1
			archived = c.createVolume(opts)
			found, err := volumes.Get(t.Context(), c.storage, archived).Extract()
			require.NoError(t, err)
			require.Equal(t, "archive", found.AvailabilityZone, "%+v", opts)
		}
		a.attach(archived)
		a.detach(archived)
	})
	c.compute, c.storage = compute, storage

	c.step("an interface is attached and detached", func() {
		added, err := attachinterfaces.Create(t.Context(), c.compute, b.ID,
			attachinterfaces.CreateOpts{NetworkID: c.netID}).Extract()
		require.NoError(t, err)
		require.Equal(t, added.MACAddr, b.run("cat /sys/class/net/eth1/address"))
		require.NoError(t, attachinterfaces.Delete(t.Context(), c.compute, b.ID, added.PortID).ExtractErr())
		require.Eventually(t, func() bool { return !b.succeeds("test -e /sys/class/net/eth1") }, timeout,
			200*time.Millisecond)
	})

	const folders = "/root /var/lib/containerd /mnt" // on the root, on the disk, on the volume
	reboots := map[string]func(){
		"soft":   func() { b.reboot(servers.SoftReboot) },
		"hard":   func() { b.reboot(servers.HardReboot) },
		"inside": func() { b.run("systemctl reboot") },
		"poweroff inside and start": func() {
			b.run("systemctl poweroff")
			b.waitFor("SHUTOFF", time.Minute) // Nova itself checks every 600 s
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.waitFor("ACTIVE", timeout)
		},
		"stop and start": func() {
			require.NoError(t, servers.Stop(t.Context(), c.compute, b.ID).ExtractErr())
			b.waitFor("SHUTOFF", 50*time.Second)
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.waitFor("ACTIVE", timeout)
		},
		"power cut and start": func() {
			b.run("sync; for folder in " + folders + "; do cd $folder; echo unsynced >created; echo synced >longer; " +
				"sync longer .; echo unsynced >>longer; echo unsynced >other; done")
			require.NoError(t, cutPower(b.ID))
			b.waitFor("SHUTOFF", time.Minute)
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.waitFor("ACTIVE", timeout)
		},
		"killed and start": func() {
			c.kill(b.leader())
			b.waitFor("SHUTOFF", time.Minute)
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.waitFor("ACTIVE", timeout)
		},
	}
	// the root of the control groups, or of one hierarchy with version 1
	group := b.run(
		"find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -printf '%d %h\\n' | sort -n | head -n 1 | cut -d ' ' -f 2")
	for name, reboot := range reboots {
		c.step("reboot: "+name, func() {
			b.run("iptables -A OUTPUT -d 192.0.2.1 -j DROP && mkdir " + group + "/boot") // must not exist after the boot
			// must end with the machine, and not delay its shutdown
			inside := b.enter("sleep", "infinity")
			require.NoError(t, inside.Start())
			leader, begin := b.leader(), time.Now()
			reboot()
			// Nova kills a machine that does not shut down within 60 s. A good reboot is faster.
			b.waitForReboot(leader, 50*time.Second)
			require.Error(t, inside.Wait())
			b.eventually(timeout, func() (string, bool) {
				state, err := b.try("systemctl is-system-running")
				return fmt.Sprint(state, err), state == "running"
			})
			t.Logf("rebooted in %.1f s", time.Since(begin).Seconds())
			require.Equal(t, "kept", b.run("mount "+disk+" /mnt && cat /mnt/file"))
			require.NotContains(t, b.run("iptables -S"), "192.0.2.1")
			require.False(t, b.succeeds("test -e "+group+"/boot"))
			require.True(t, b.pings(a, b.address))
			require.Equal(t, "e2e-b written", b.run("cat /root/ran"))
			b.waitFor("ACTIVE", timeout)
		})
	}

	c.step("a power cut loses all data that was not synced", func() {
		require.Equal(t, strings.TrimSpace(strings.Repeat("created: longer:synced other: ", 3)),
			b.run("for folder in "+folders+"; do cd $folder; "+
				"echo created:$(cat created) longer:$(cat longer) other:$(cat other); done"))
	})

	c.step("an expanded volume keeps its size after reboots", func() {
		require.Equal(t, "2147483648", b.run("blockdev --getsize64 "+disk))
	})

	c.step("kernel settings belong to one machine", func() {
		names := "kernel/panic vm/overcommit_memory kernel/keys/root_maxkeys net/netfilter/nf_conntrack_max"
		read := "cd /proc/sys && cat " + names
		before := b.run(read)
		require.Equal(t, "12345 12345 12345 12345",
			a.run("cd /proc/sys && for name in "+names+"; do sysctl -qw $name=12345; done && cat "+names))
		require.Equal(t, before, b.run(read), "another machine must not change them")
	})

	c.step("old console output is freed", func() {
		a.run("yes | head -c 4M > /dev/console && echo the end > /dev/console")
		log := "/var/lib/nova/instances/" + a.ID + "/console.log"
		require.Eventually(t, func() bool {
			output, err := c.record.enter("sh", "-c", "du -k "+log+" && tail -c 30 "+log).Output()
			require.NoError(t, err)
			var kept int
			_, err = fmt.Sscan(string(output), &kept)
			require.NoError(t, err)
			return strings.Contains(string(output), "the end") && kept > 1000 && kept < 2000
		}, timeout, 500*time.Millisecond)
	})

	c.step("a full disk refuses writes", func() {
		require.Equal(t, fmt.Sprintf("1G-blocks %dG", c.flavor.Disk), a.run("df --output=size -BG /"))
		a.run("fallocate -l 11G /full || true")
		require.False(t, a.succeeds("head -c 1M /dev/zero > /root/more"))
		require.False(t, a.succeeds("head -c 1M /dev/zero > /var/lib/containerd/more"))
	})

	c.stepExclusive("nova-compute restarts after a kill", func() { // its operations for other suites would be lost
		leader := a.leader()
		killed := c.unit("nova-compute")
		c.kill(killed.PID)
		require.Eventually(t, func() bool {
			unit := c.unit("nova-compute")
			return unit.State == running && unit.PID != killed.PID
		}, time.Minute, 100*time.Millisecond)
		a.reboot(servers.SoftReboot) // the message stays in the queue until it runs
		a.waitForReboot(leader, time.Minute)
		a.waitFor("ACTIVE", time.Minute)
		a.eventually(time.Minute, func() (string, bool) { // it boots although its disk is full
			_, err := a.try("systemctl is-active multi-user.target && test -e /full")
			return fmt.Sprint(err), err == nil
		})
		require.Equal(t, "kept", b.run("cat /mnt/file"), "the kill must not affect other instances")
	})

	t.Parallel() // from here on, TestE2ELifecycle runs at the same time
	c.step("instances are created and deleted in parallel", func() {
		begin := time.Now()
		const parallel, rounds = 2, 2
		var wait sync.WaitGroup
		for i := range parallel {
			wait.Go(func() {
				for round := range rounds {
					created := c.boot(fmt.Sprintf("e2e-%d-%d", i, round))
					if created == nil {
						return
					}
					created.delete()
				}
			})
		}
		wait.Wait()
		t.Logf("created and deleted %d instances in %.1f s", parallel*rounds, time.Since(begin).Seconds())
	})

	c.step("deleted instances leave nothing in the box", func() {
		require.Contains(t, c.listBox(), a.ID, "the list must contain existing instances")
		c.kill(a.leader()) // a killed instance, and one with a mounted volume
		a.delete()
		b.delete()
		c.requireVolume(volume, "available")
		c.cleanup()
		var remaining string
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			if remaining = c.listBox(); remaining == "" {
				break
			}
		}
		require.Empty(t, remaining)
		require.GreaterOrEqual(t, len(c.ids), 2*(2+4)+1)
	})
}

// skipUnchanged skips a suite if it has passed and its inputs have not changed.
func skipUnchanged(t *testing.T) {
	t.Helper()
	unchanged.Skip(t, "../..", nil, []string{"Makefile", "hack/devcloud/host-packages"})
}

// cloud is a client of the running cloud, with the test's resources.
type cloud struct {
	*testing.T
	record                    Record
	client                    *gophercloud.ProviderClient
	compute, network, storage *gophercloud.ServiceClient
	flavor                    flavors.Flavor
	netID, subnetID, groupID  string
	mu                        sync.Mutex
	ids                       []string // IDs of the created instances, ports and volumes
	cleanups                  []func()
}

// connect creates a project, and returns a client of its user.
func connect(t *testing.T, project string) *cloud {
	c := &cloud{T: t}
	t.Cleanup(c.cleanup)
	require.NoError(t, load("record.json", &c.record))
	require.True(t, c.record.Init.alive(), "devcloud is not running")
	c.createProject(project)
	auth, endpoint, tls, err := cloudsyaml.Parse(cloudsyaml.WithCloudName("devcloud"),
		cloudsyaml.WithLocations(state("clouds.yaml")),
		cloudsyaml.WithUsername(project), cloudsyaml.WithProjectName(project))
	require.NoError(t, err)
	c.client, err = config.NewProviderClient(t.Context(), auth, config.WithTLSConfig(tls))
	require.NoError(t, err)
	c.compute, err = openstack.NewComputeV2(c.client, endpoint)
	require.NoError(t, err)
	c.compute.Microversion = "2.79"
	c.network, err = openstack.NewNetworkV2(c.client, endpoint)
	require.NoError(t, err)
	c.storage, err = openstack.NewBlockStorageV3(c.client, endpoint)
	require.NoError(t, err)
	pages, err := flavors.ListDetail(c.compute, nil).AllPages(t.Context())
	require.NoError(t, err)
	all, err := flavors.ExtractFlavors(pages)
	require.NoError(t, err)
	for _, flavor := range all {
		if flavor.Name == "etcd" {
			c.flavor = flavor
		}
	}
	require.NotEmpty(t, c.flavor.ID)
	t.Cleanup(func() { // before the machines are deleted
		if t.Failed() {
			if err := copyLogs(dirs.State("failed", t.Name())); err != nil {
				t.Log("cannot copy the logs:", err)
			}
		}
	})
	return c
}

// track records the IDs of created resources.
func (c *cloud) track(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, ids...)
}

// step runs a part of the test in parallel with steps of other suites. If the part fails, the whole test ends.
func (c *cloud) step(name string, part func()) { c.runStep(name, turns.Shared, part) }

// stepExclusive runs a part of the test that breaks something which other suites use.
func (c *cloud) stepExclusive(name string, part func()) { c.runStep(name, turns.Exclusive, part) }

func (c *cloud) runStep(name string, turn func(testing.TB) (end func()), part func()) {
	turns.SkipLate(c.T, name)
	defer turn(c.T)()
	begin := time.Now()
	part()
	c.Logf("%s: %.1f s", name, time.Since(begin).Seconds())
}

// atEnd registers a function that runs at the end of the test, also after a failure.
func (c *cloud) atEnd(f func(ctx context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleanups = append(c.cleanups, func() {
		err := f(context.Background())
		if !gophercloud.ResponseCodeIs(err, 404) && err != nil {
			c.Errorf("clean up: %v", err)
		}
	})
}

func (c *cloud) cleanup() {
	for len(c.cleanups) > 0 {
		last := len(c.cleanups) - 1
		c.cleanups[last]()
		c.cleanups = c.cleanups[:last]
	}
}

// createProject creates a project and a user of the same name. Other suites create nothing in it.
func (c *cloud) createProject(name string) {
	client, err := admin(c.Context())
	require.NoError(c, err)
	identity, err := openstack.NewIdentityV3(client, inRegion)
	require.NoError(c, err)
	project, err := projects.Create(c.Context(), identity, projects.CreateOpts{Name: name, DomainID: "default"}).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error { return projects.Delete(ctx, identity, project.ID).ExtractErr() })
	require.NoError(c, createUser(c.Context(), identity, name, project.ID, "member"))
	pages, err := users.List(identity, users.ListOpts{Name: name}).AllPages(c.Context())
	require.NoError(c, err)
	created, err := users.ExtractUsers(pages)
	require.NoError(c, err)
	require.Len(c, created, 1)
	c.atEnd(func(ctx context.Context) error { return users.Delete(ctx, identity, created[0].ID).ExtractErr() })
}

// createCredential creates an application credential of the project's user.
func (c *cloud) createCredential(opts applicationcredentials.CreateOpts) gophercloud.AuthOptions {
	identity, err := openstack.NewIdentityV3(c.client, inRegion)
	require.NoError(c, err)
	user, err := c.client.GetAuthResult().(tokens.CreateResult).ExtractUser()
	require.NoError(c, err)
	credential, err := applicationcredentials.Create(c.Context(), identity, user.ID, opts).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error {
		return applicationcredentials.Delete(ctx, identity, user.ID, credential.ID).ExtractErr()
	})
	return gophercloud.AuthOptions{IdentityEndpoint: identityURL,
		ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret}
}

func (c *cloud) createNetwork() {
	ctx := c.Context()
	network, err := networks.Create(ctx, c.network, networks.CreateOpts{Name: "e2e"}).Extract()
	require.NoError(c, err)
	c.netID = network.ID
	c.atEnd(func(ctx context.Context) error { return networks.Delete(ctx, c.network, network.ID).ExtractErr() })
	subnet, err := subnets.Create(ctx, c.network,
		subnets.CreateOpts{NetworkID: network.ID, Name: "e2e", IPVersion: 4, CIDR: "10.99.0.0/24"}).Extract()
	require.NoError(c, err)
	c.subnetID = subnet.ID
	group, err := groups.Create(ctx, c.network, groups.CreateOpts{Name: "e2e"}).Extract()
	require.NoError(c, err)
	c.groupID = group.ID
	c.atEnd(func(ctx context.Context) error { return groups.Delete(ctx, c.network, group.ID).ExtractErr() })
	c.allow("icmp", 0)
	c.allow("tcp", 22)
}

// createRouter connects the network to the external one.
func (c *cloud) createRouter() {
	router, err := routers.Create(c.Context(), c.network,
		routers.CreateOpts{Name: "e2e", GatewayInfo: &routers.GatewayInfo{NetworkID: networkID}}).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error { return routers.Delete(ctx, c.network, router.ID).ExtractErr() })
	_, err = routers.AddInterface(c.Context(), c.network, router.ID,
		routers.AddInterfaceOpts{SubnetID: c.subnetID}).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error {
		_, err := routers.RemoveInterface(ctx, c.network, router.ID,
			routers.RemoveInterfaceOpts{SubnetID: c.subnetID}).Extract()
		return err
	})
}

// allow adds a rule to the security group of all ports.
func (c *cloud) allow(protocol rules.RuleProtocol, port int) {
	_, err := rules.Create(c.Context(), c.network, rules.CreateOpts{SecGroupID: c.groupID, Direction: rules.DirIngress,
		EtherType: rules.EtherType4, Protocol: protocol, PortRangeMin: port, PortRangeMax: port}).Extract()
	require.NoError(c, err)
}

func (c *cloud) createKeyPair() {
	_, err := keypairs.Create(c.Context(), c.compute, keypairs.CreateOpts{Name: "e2e", PublicKey: publicKey}).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error { return keypairs.Delete(ctx, c.compute, "e2e", nil).ExtractErr() })
}

func (c *cloud) createVolume(opts volumes.CreateOpts) string {
	opts.Name = "e2e"
	volume, err := volumes.Create(c.Context(), c.storage, opts, nil).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error {
		if err := c.waitForVolume(ctx, volume.ID, "available"); err != nil {
			return err
		}
		return volumes.Delete(ctx, c.storage, volume.ID, nil).ExtractErr()
	})
	c.track(volume.ID)
	c.requireVolume(volume.ID, "available")
	return volume.ID
}

// createSnapshot creates a snapshot of a volume, which may be in use.
func (c *cloud) createSnapshot(volume string) string {
	snapshot, err := snapshots.Create(c.Context(), c.storage,
		snapshots.CreateOpts{VolumeID: volume, Name: "e2e", Force: true}).Extract()
	require.NoError(c, err)
	c.atEnd(func(ctx context.Context) error {
		if err := snapshots.Delete(ctx, c.storage, snapshot.ID).ExtractErr(); err != nil {
			return err
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if _, err := snapshots.Get(ctx, c.storage, snapshot.ID).Extract(); err != nil {
				return err
			}
		}
		return fmt.Errorf("snapshot %s still exists", snapshot.ID)
	})
	require.NoError(c, snapshots.WaitForStatus(c.Context(), c.storage, snapshot.ID, "available"))
	return snapshot.ID
}

// requireVolume waits for a volume's status.
func (c *cloud) requireVolume(id, status string) {
	require.NoError(c, c.waitForVolume(c.Context(), id, status))
}

func (c *cloud) waitForVolume(ctx context.Context, id, status string) error {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	return volumes.WaitForStatus(ctx, c.storage, id, status)
}

// unit returns the state of a service in the box.
func (c *cloud) unit(name string) Unit {
	var units []Unit
	require.NoError(c, load("run/units.json", &units))
	for _, unit := range units {
		if unit.Name == name {
			return unit
		}
	}
	c.Fatalf("unit %s does not exist", name)
	return Unit{}
}

// kill ends a process in the box with SIGKILL.
func (c *cloud) kill(pid int) {
	require.Greater(c, pid, 1)
	require.NoError(c, c.record.enter("kill", "-9", fmt.Sprint(pid)).Run())
}

// listBox lists the traces of the test's instances, ports and volumes in the box.
func (c *cloud) listBox() string {
	var ids strings.Builder
	for _, id := range c.ids {
		fmt.Fprintln(&ids, id[:11])
	}
	list := c.record.enter("sh", "-c", `
		ids=$(cat)
		list=$({
			ip netns
			ip -brief link
			iptables-save
			ebtables-save
			cat /proc/mounts
			losetup --list --output NAME,BACK-FILE
			find /sys/fs/cgroup -maxdepth 2
			ls /var/lib/nova/instances
			ps -eo pid,args
		})
		echo "$list" | grep -F "$ids" || true`)
	list.Stdin = strings.NewReader(strings.TrimSpace(ids.String()))
	output, err := list.Output()
	require.NoError(c, err)
	return string(output)
}

// instance is an instance of the test.
type instance struct {
	*cloud
	ID, port, address string
}

// boot creates an instance and waits until cloud-init has run its user-data. It returns nil after a failure.
func (c *cloud) boot(name string) *instance {
	ctx := c.Context()
	port, err := neutronports.Create(ctx, c.network,
		neutronports.CreateOpts{Name: name, NetworkID: c.netID, SecurityGroups: &[]string{c.groupID}}).Extract()
	if err != nil {
		c.Errorf("%s: %v", name, err)
		return nil
	}
	c.atEnd(func(ctx context.Context) error { return neutronports.Delete(ctx, c.network, port.ID).ExtractErr() })
	server, err := servers.Create(ctx,
		c.compute, keypairs.CreateOptsExt{KeyName: "e2e", CreateOptsBuilder: servers.CreateOpts{
			Name: name, ImageRef: imageID, FlavorRef: c.flavor.ID, Networks: []servers.Network{{Port: port.ID}},
			UserData: []byte(base64.StdEncoding.EncodeToString([]byte(userData)))}}, nil).Extract()
	if err != nil {
		c.Errorf("%s: %v", name, err)
		return nil
	}
	c.track(port.ID, server.ID)
	i := &instance{c, server.ID, port.ID, port.FixedIPs[0].IPAddress}
	c.atEnd(func(context.Context) error { i.delete(); return nil })
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		server, err := servers.Get(ctx, c.compute, server.ID).Extract()
		if err != nil || server.Status == "ERROR" {
			c.Errorf("%s: %v %+v", name, err, server.Fault)
			return nil
		}
		if server.Status == "ACTIVE" && i.succeeds("test -e /root/ran") {
			return i
		}
	}
	inside, err := i.try("systemctl list-jobs; ip address; journalctl --no-pager -n 200")
	c.Errorf("%s: cloud-init has not run the user-data: %v\n%s", name, err, inside)
	return nil
}

func (i *instance) delete() {
	err := servers.Delete(context.Background(), i.compute, i.ID).ExtractErr()
	for end := time.Now().Add(3 * time.Minute); err == nil && time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		_, err = servers.Get(context.Background(), i.compute, i.ID).Extract()
	}
	if !gophercloud.ResponseCodeIs(err, 404) {
		i.Errorf("delete %s: %v", i.ID, err)
	}
}

// waitFor waits for the instance's status.
func (i *instance) waitFor(status string, timeout time.Duration) {
	require.Eventually(i, func() bool {
		server, err := servers.Get(i.Context(), i.compute, i.ID).Extract()
		return err == nil && server.Status == status
	}, turns.Patience*timeout, 200*time.Millisecond, "instance is not %s", status)
}

// eventually waits until condition is true. After the timeout, the test fails with the last state and the console.
func (i *instance) eventually(timeout time.Duration, condition func() (state string, ok bool)) {
	i.Helper()
	for end := time.Now().Add(turns.Patience * timeout); ; time.Sleep(200 * time.Millisecond) {
		state, ok := condition()
		if ok {
			return
		}
		if time.Now().After(end) {
			console, err := servers.ShowConsoleOutput(i.Context(), i.compute, i.ID,
				servers.ShowConsoleOutputOpts{Length: 50}).Extract()
			i.Fatalf("after %s: %s\nits console: %v\n%s", timeout, state, err, console)
		}
	}
}

// waitForReboot waits until the instance has another init than leader.
func (i *instance) waitForReboot(leader int, timeout time.Duration) {
	i.Helper()
	i.eventually(timeout, func() (string, bool) {
		current := i.leader()
		return fmt.Sprintf("init was %d and is %d", leader, current), current != 0 && current != leader
	})
}

func (i *instance) reboot(kind servers.RebootMethod) {
	require.NoError(i, servers.Reboot(i.Context(), i.compute, i.ID, servers.RebootOpts{Type: kind}).ExtractErr())
}

func (i *instance) attach(volume string) {
	_, err := volumeattach.Create(i.Context(), i.compute, i.ID, volumeattach.CreateOpts{VolumeID: volume}).Extract()
	require.NoError(i, err)
	i.requireVolume(volume, "in-use")
}

func (i *instance) detach(volume string) {
	require.NoError(i, volumeattach.Delete(i.Context(), i.compute, i.ID, volume).ExtractErr())
	i.requireVolume(volume, "available")
	i.eventually(timeout, func() (string, bool) { // Nova deletes its own record after Cinder's
		_, err := volumeattach.Get(i.Context(), i.compute, i.ID, volume).Extract()
		return fmt.Sprintf("Nova's attachment of %s: %v", volume, err), gophercloud.ResponseCodeIs(err, http.StatusNotFound)
	})
}

// enter returns a command that runs in the instance.
func (i *instance) enter(command ...string) *exec.Cmd {
	return i.record.enter(append([]string{"/opt/devcloud/nova/nspawn-enter", "/var/lib/nova/instances/" + i.ID},
		command...)...)
}

// try runs a shell line in the instance, and returns its output with normalized spaces.
func (i *instance) try(line string) (string, error) {
	ctx, stop := context.WithTimeout(i.Context(), 30*time.Second)
	defer stop()
	enter := i.enter("sh", "-c", line)
	command := exec.CommandContext(ctx, enter.Path, enter.Args[1:]...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s%s", line, err, output, stderr.Bytes())
	}
	return strings.Join(strings.Fields(string(output)), " "), err
}

// run runs a shell line that must succeed.
func (i *instance) run(line string) string {
	output, err := i.try(line)
	require.NoError(i, err)
	return output
}

func (i *instance) succeeds(line string) bool {
	_, err := i.try(line)
	return err == nil
}

// controller returns clients like those of a program on the instance: with an application credential of these roles,
// and with the catalogue's internal endpoints.
func (i *instance) controller(roles ...string) (compute, storage *gophercloud.ServiceClient) {
	opts := applicationcredentials.CreateOpts{Name: "e2e-" + strings.Join(roles, "-")}
	for _, role := range roles {
		opts.Roles = append(opts.Roles, applicationcredentials.Role{Name: role})
	}
	client, err := openstack.NewClient("http://" + externalGateway + ":5000/v3")
	require.NoError(i, err)
	client.HTTPClient.Transport = &http.Transport{DialContext: i.dial, DisableKeepAlives: true}
	credential := i.createCredential(opts)
	credential.IdentityEndpoint = client.IdentityEndpoint
	i.eventually(timeout, func() (string, bool) { // Neutron may still be creating the router
		err := openstack.Authenticate(i.Context(), client, credential)
		return fmt.Sprint(err), err == nil
	})
	internal := gophercloud.EndpointOpts{Region: region, Availability: gophercloud.AvailabilityInternal}
	compute, err = openstack.NewComputeV2(client, internal)
	require.NoError(i, err)
	storage, err = openstack.NewBlockStorageV3(client, internal)
	require.NoError(i, err)
	for _, api := range []*gophercloud.ServiceClient{compute, storage} {
		require.Contains(i, api.Endpoint, externalGateway)
	}
	return compute, storage
}

// dial connects from within the instance.
func (i *instance) dial(_ context.Context, _, address string) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close() // net.FileConn duplicates it
	defer theirs.Close()
	relay := i.enter("socat", "-", "TCP:"+address)
	relay.Stdin, relay.Stdout = theirs, theirs
	if err := relay.Start(); err != nil {
		return nil, err
	}
	go relay.Wait()
	return net.FileConn(ours)
}

// pings returns true if a ping from this source address is answered.
func (i *instance) pings(to *instance, from string) bool {
	return i.succeeds(fmt.Sprintf("ping -c 1 -W 1 -I %s %s", from, to.address))
}

// leader returns the PID of the instance's init in the box, or 0 if there is none.
func (i *instance) leader() (pid int) {
	output, _ := i.record.enter("sh", "-c", fmt.Sprintf(
		`awk '/^NSpid:/ && NF == 3 && $3 == 1 { print $2 }' $(find /sys/fs/cgroup/systemd/nova-%s -name cgroup.procs -exec `+
			`sed 's,.*,/proc/&/status,' {} +)`, i.ID)).Output()
	_, _ = fmt.Sscan(string(output), &pid)
	return pid
}
