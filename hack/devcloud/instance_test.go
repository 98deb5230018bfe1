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

// A test's machines tell on their own what cloud-init did for them.
const userData = `#cloud-config
write_files:
- path: /etc/e2e
  content: written
runcmd:
- [sh, -c, "echo $(hostname) $(cat /etc/e2e) > /root/ran"]
`

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEGVC8wsoY0l6DZuEHnDuyKyRXTeqHsI9hUzTzfDcPxz e2e"

// TestE2EInstances uses the cloud that runs, in a project of its own, and leaves it as it was.
func TestE2EInstances(t *testing.T) {
	skipUnchanged(t)
	c := connect(t)
	var volume string
	c.step("network, key pair and volume", func() {
		c.createNetwork()
		c.createKeyPair()
		volume = c.createVolume(volumes.CreateOpts{Size: 1})
	})

	var a, b *instance
	c.step("boot", func() {
		begin := time.Now()
		var wait sync.WaitGroup
		for name, made := range map[string]**instance{"e2e-a": &a, "e2e-b": &b} {
			wait.Go(func() { *made = c.boot(name) })
		}
		wait.Wait()
		require.False(t, t.Failed(), "an instance did not get there")
		t.Logf("user-data done %.1f s after the create call", time.Since(begin).Seconds())
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

	c.step("security group", func() {
		b.run("systemd-run --quiet python3 -m http.server 8080")
		require.Eventually(t, func() bool { return b.succeeds("curl -sf -o /dev/null 127.0.0.1:8080") }, patience,
			100*time.Millisecond)
		connects := func(port int) bool {
			return a.succeeds(fmt.Sprintf("timeout 2 bash -c '</dev/tcp/%s/%d'", b.address, port))
		}
		require.True(t, a.pings(b, a.address))
		require.True(t, connects(22))
		require.False(t, connects(8080), "no rule allows it")
		c.allow("tcp", 8080)
		require.Eventually(t, func() bool { return connects(8080) }, patience, 100*time.Millisecond)
	})

	c.step("addresses", func() {
		const other = "10.99.0.99"
		pair := func(addresses ...neutronports.AddressPair) {
			_, err := neutronports.Update(t.Context(), c.network, a.port,
				neutronports.UpdateOpts{AllowedAddressPairs: &addresses}).Extract()
			require.NoError(t, err)
		}
		a.run("ip address add " + other + "/24 dev eth0")
		require.False(t, a.pings(b, other), "it is not the port's")
		begin := time.Now()
		pair(neutronports.AddressPair{IPAddress: other})
		require.Eventually(t, func() bool { return a.pings(b, other) }, patience, 100*time.Millisecond)
		t.Logf("address pair works after %.1f s", time.Since(begin).Seconds())
		pair()
		require.Eventually(t, func() bool { return !a.pings(b, other) }, patience, 100*time.Millisecond)
		a.run("ip address delete " + other + "/24 dev eth0")

		mac := a.run("cat /sys/class/net/eth0/address")
		a.run("ip link set eth0 address 02:00:00:00:00:01")
		require.False(t, a.pings(b, a.address), "the MAC address is not the port's")
		a.run("ip link set eth0 address " + mac)
		require.Eventually(t, func() bool { return a.pings(b, a.address) }, patience, 100*time.Millisecond)
	})

	disk := "/dev/disk/by-id/virtio-" + volume[:20]
	c.step("volume", func() {
		a.attach(volume)
		require.Equal(t, "/dev/vdb 1073741824", a.run("realpath "+disk+"; blockdev --getsize64 "+disk))
		a.run("mkfs.ext4 -q " + disk + " && mount " + disk + " /mnt && echo kept > /mnt/file")
		a.detach(volume) // without having been unmounted or synced
		require.NotContains(t, c.inTheBox(), volume, "the machine still has it open")
		require.False(t, a.succeeds("mountpoint /mnt"))
		require.False(t, a.succeeds("test -e "+disk+" || test -e /dev/vdb"))
		b.attach(volume)
		require.Equal(t, "kept", b.run("mount "+disk+" /mnt && cat /mnt/file"))
		b.run("umount /mnt")
		b.detach(volume)
		b.attach(volume)
		require.Equal(t, "kept", b.run("mount "+disk+" /mnt && cat /mnt/file"))
	})

	c.step("metadata", func() {
		var data struct {
			UUID string
			Zone string `json:"availability_zone"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.run("curl -sf http://169.254.169.254/openstack/latest/meta_data.json")),
			&data))
		require.Equal(t, a.ID+" nova", data.UUID+" "+data.Zone)
	})

	compute, storage := c.compute, c.storage
	c.step("APIs as a machine reaches them", func() {
		c.createRouter()
		_, reader := a.controller("reader")
		_, err := volumes.Get(t.Context(), reader, volume).Extract()
		require.NoError(t, err)
		_, err = volumes.Create(t.Context(), reader, volumes.CreateOpts{Size: 1}, nil).Extract()
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)
		_, member := a.controller("member")
		_, err = volumes.Get(t.Context(), member, volume).Extract()
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "a credential has no implied roles: %v", err)
		c.compute, c.storage = a.controller("member", "reader") // until the volumes are done
		c.later(func(context.Context) error {
			c.compute, c.storage = compute, storage
			return nil
		})
	})

	c.step("volume grows while it is in use", func() {
		c.storage.Microversion = "3.42"
		require.NoError(t, volumes.ExtendSize(t.Context(), c.storage, volume,
			volumes.ExtendSizeOpts{NewSize: 2}).ExtractErr())
		c.untilVolume(volume, "in-use")
		b.eventually(patience, func() (string, bool) {
			size := b.run("blockdev --getsize64 " + disk)
			return size, size == "2147483648"
		})
		// What is mounted grows only where the host has CAP_SYS_RESOURCE.
		b.run("resize2fs " + disk + " || { umount /mnt; e2fsck -fy " + disk + "; resize2fs " + disk + " && mount " + disk +
			" /mnt; }")
		require.Greater(t, b.run("df --output=size -k /mnt | tail -n 1"), "1900000")
	})

	c.step("snapshot and copy of a volume in use", func() {
		sum := b.run("head -c 50M /dev/urandom > /mnt/random && sync && cd /mnt && sha256sum random")
		begin := time.Now()
		snapshot := c.createSnapshot(volume)
		t.Logf("snapshot: %.1f s", time.Since(begin).Seconds())
		b.run("rm /mnt/random && sync")
		begin = time.Now()
		restored := c.createVolume(volumes.CreateOpts{Size: 3, SnapshotID: snapshot})
		t.Logf("volume of it: %.1f s", time.Since(begin).Seconds())
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

	c.step("volumes of a zone that Nova has not", func() {
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

	c.step("interface", func() {
		added, err := attachinterfaces.Create(t.Context(), c.compute, b.ID,
			attachinterfaces.CreateOpts{NetworkID: c.netID}).Extract()
		require.NoError(t, err)
		require.Equal(t, added.MACAddr, b.run("cat /sys/class/net/eth1/address"))
		require.NoError(t, attachinterfaces.Delete(t.Context(), c.compute, b.ID, added.PortID).ExtractErr())
		require.Eventually(t, func() bool { return !b.succeeds("test -e /sys/class/net/eth1") }, patience,
			200*time.Millisecond)
	})

	reboots := map[string]func(){
		"soft":   func() { b.reboot(servers.SoftReboot) },
		"hard":   func() { b.reboot(servers.HardReboot) },
		"inside": func() { b.run("systemctl reboot") },
		"poweroff inside and start": func() {
			b.run("systemctl poweroff")
			b.until("SHUTOFF", time.Minute) // Nova itself looks each 600 s
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.until("ACTIVE", patience)
		},
		"stop and start": func() {
			require.NoError(t, servers.Stop(t.Context(), c.compute, b.ID).ExtractErr())
			b.until("SHUTOFF", 50*time.Second)
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.until("ACTIVE", patience)
		},
		"killed and start": func() {
			c.kill(b.leader())
			b.until("SHUTOFF", time.Minute)
			require.NoError(t, servers.Start(t.Context(), c.compute, b.ID).ExtractErr())
			b.until("ACTIVE", patience)
		},
	}
	// control groups' root, or with version 1 that of one of their hierarchies
	group := b.run(
		"find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -printf '%d %h\\n' | sort -n | head -n 1 | cut -d ' ' -f 2")
	for name, reboot := range reboots {
		c.step("reboot: "+name, func() {
			b.run("iptables -A OUTPUT -d 192.0.2.1 -j DROP && mkdir " + group + "/boot") // of one boot only
			// ends with the machine, and does not keep it
			inside := b.enter("sleep", "infinity")
			require.NoError(t, inside.Start())
			leader, begin := b.leader(), time.Now()
			reboot()
			// Nova kills a machine that does not end by itself within 60 s: that is no good reboot.
			b.untilRebooted(leader, 50*time.Second)
			require.Error(t, inside.Wait())
			b.eventually(patience, func() (string, bool) {
				state, err := b.try("systemctl is-system-running")
				return fmt.Sprint(state, err), state == "running"
			})
			t.Logf("up again after %.1f s", time.Since(begin).Seconds())
			require.Equal(t, "kept", b.run("mount "+disk+" /mnt && cat /mnt/file"))
			require.NotContains(t, b.run("iptables -S"), "192.0.2.1")
			require.False(t, b.succeeds("test -e "+group+"/boot"))
			require.True(t, b.pings(a, b.address))
			require.Equal(t, "e2e-b written", b.run("cat /root/ran"))
			b.until("ACTIVE", patience)
		})
	}

	c.step("a volume that has grown is as large after reboots", func() {
		require.Equal(t, "2147483648", b.run("blockdev --getsize64 "+disk))
	})

	c.step("kernel settings", func() {
		names := "kernel/panic vm/overcommit_memory kernel/keys/root_maxkeys net/netfilter/nf_conntrack_max"
		read := "cd /proc/sys && cat " + names
		before := b.run(read)
		require.Equal(t, "12345 12345 12345 12345",
			a.run("cd /proc/sys && for name in "+names+"; do sysctl -qw $name=12345; done && cat "+names))
		require.Equal(t, before, b.run(read), "they are the host's")
	})

	c.step("console", func() {
		a.run("yes | head -c 4M > /dev/console && echo the end > /dev/console")
		log := "/var/lib/nova/instances/" + a.ID + "/console.log"
		require.Eventually(t, func() bool {
			output, err := c.record.enter("sh", "-c", "du -k "+log+" && tail -c 30 "+log).Output()
			require.NoError(t, err)
			var kept int
			_, err = fmt.Sscan(string(output), &kept)
			require.NoError(t, err)
			return strings.Contains(string(output), "the end") && kept > 1000 && kept < 2000
		}, patience, 500*time.Millisecond)
	})

	c.step("full disk", func() {
		require.Equal(t, fmt.Sprintf("1G-blocks %dG", c.flavor.Disk), a.run("df --output=size -BG /"))
		a.run("fallocate -l 11G /full || true")
		require.False(t, a.succeeds("head -c 1M /dev/zero > /root/more"))
		require.False(t, a.succeeds("head -c 1M /dev/zero > /var/lib/containerd/more"))
	})

	c.stepAlone("nova-compute killed", func() { // what it is doing for other suites would be lost
		leader := a.leader()
		killed := c.unit("nova-compute")
		c.kill(killed.PID)
		require.Eventually(t, func() bool {
			unit := c.unit("nova-compute")
			return unit.State == running && unit.PID != killed.PID
		}, time.Minute, 100*time.Millisecond)
		a.reboot(servers.SoftReboot) // the message waits for it
		a.untilRebooted(leader, time.Minute)
		a.until("ACTIVE", time.Minute)
		a.eventually(time.Minute, func() (string, bool) { // its disk is full, it boots all the same
			_, err := a.try("systemctl is-active multi-user.target && test -e /full")
			return fmt.Sprint(err), err == nil
		})
		require.Equal(t, "kept", b.run("cat /mnt/file"), "it was not touched")
	})

	c.step("create and delete", func() {
		begin := time.Now()
		const side, rounds = 2, 2
		var wait sync.WaitGroup
		for i := range side {
			wait.Go(func() {
				for round := range rounds {
					made := c.boot(fmt.Sprintf("e2e-%d-%d", i, round))
					if made == nil {
						return
					}
					made.delete()
				}
			})
		}
		wait.Wait()
		t.Logf("%d instances in %.1f s", side*rounds, time.Since(begin).Seconds())
	})

	c.step("delete leaves nothing", func() {
		require.Contains(t, c.inTheBox(), a.ID, "what is not seen cannot be missed")
		c.kill(a.leader()) // a dead one, and one that has a volume mounted
		a.delete()
		b.delete()
		c.untilVolume(volume, "available")
		c.cleanup()
		var left string
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			if left = c.inTheBox(); left == "" {
				break
			}
		}
		require.Empty(t, left)
		require.GreaterOrEqual(t, len(c.ids), 2*(2+4)+1)
	})
}

// skipUnchanged skips a suite if it has passed and its inputs have not changed.
func skipUnchanged(t *testing.T) {
	t.Helper()
	unchanged.Skip(t, "../..", nil, []string{"Makefile", "hack/devcloud/host-packages"})
}

// cloud is what the test uses of the cloud that runs.
type cloud struct {
	*testing.T
	record                    Record
	client                    *gophercloud.ProviderClient
	compute, network, storage *gophercloud.ServiceClient
	flavor                    flavors.Flavor
	netID, subnetID, groupID  string
	mu                        sync.Mutex
	ids                       []string // of what it made: instances, ports, volumes
	cleanups                  []func()
}

func connect(t *testing.T) *cloud {
	c := &cloud{T: t}
	t.Cleanup(c.cleanup)
	require.NoError(t, load("record.json", &c.record))
	require.True(t, c.record.Init.alive(), "devcloud does not run")
	c.createProject("instances")
	auth, endpoint, tls, err := cloudsyaml.Parse(cloudsyaml.WithCloudName("devcloud"),
		cloudsyaml.WithLocations(state("clouds.yaml")),
		cloudsyaml.WithUsername("instances"), cloudsyaml.WithProjectName("instances"))
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
				t.Log("keep the logs:", err)
			}
		}
	})
	return c
}

func (c *cloud) made(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, ids...)
}

// step runs a part of the test in parallel with steps of other suites. If the part fails, the whole test ends.
func (c *cloud) step(name string, part func()) { c.inTurn(name, turns.Shared, part) }

// stepAlone runs a part of the test that breaks something which other suites use.
func (c *cloud) stepAlone(name string, part func()) { c.inTurn(name, turns.Exclusive, part) }

func (c *cloud) inTurn(name string, turn func(testing.TB) (end func()), part func()) {
	defer turn(c.T)()
	begin := time.Now()
	part()
	c.Logf("%s: %.1f s", name, time.Since(begin).Seconds())
}

// later has f called at the end, however the test ends.
func (c *cloud) later(f func(ctx context.Context) error) {
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
	c.later(func(ctx context.Context) error { return projects.Delete(ctx, identity, project.ID).ExtractErr() })
	require.NoError(c, createUser(c.Context(), identity, name, project.ID, "member"))
	pages, err := users.List(identity, users.ListOpts{Name: name}).AllPages(c.Context())
	require.NoError(c, err)
	created, err := users.ExtractUsers(pages)
	require.NoError(c, err)
	require.Len(c, created, 1)
	c.later(func(ctx context.Context) error { return users.Delete(ctx, identity, created[0].ID).ExtractErr() })
}

func (c *cloud) createNetwork() {
	ctx := c.Context()
	network, err := networks.Create(ctx, c.network, networks.CreateOpts{Name: "e2e"}).Extract()
	require.NoError(c, err)
	c.netID = network.ID
	c.later(func(ctx context.Context) error { return networks.Delete(ctx, c.network, network.ID).ExtractErr() })
	subnet, err := subnets.Create(ctx, c.network,
		subnets.CreateOpts{NetworkID: network.ID, Name: "e2e", IPVersion: 4, CIDR: "10.99.0.0/24"}).Extract()
	require.NoError(c, err)
	c.subnetID = subnet.ID
	group, err := groups.Create(ctx, c.network, groups.CreateOpts{Name: "e2e"}).Extract()
	require.NoError(c, err)
	c.groupID = group.ID
	c.later(func(ctx context.Context) error { return groups.Delete(ctx, c.network, group.ID).ExtractErr() })
	c.allow("icmp", 0)
	c.allow("tcp", 22)
}

// createRouter gives the network a way to the external one.
func (c *cloud) createRouter() {
	router, err := routers.Create(c.Context(), c.network,
		routers.CreateOpts{Name: "e2e", GatewayInfo: &routers.GatewayInfo{NetworkID: networkID}}).Extract()
	require.NoError(c, err)
	c.later(func(ctx context.Context) error { return routers.Delete(ctx, c.network, router.ID).ExtractErr() })
	_, err = routers.AddInterface(c.Context(), c.network, router.ID,
		routers.AddInterfaceOpts{SubnetID: c.subnetID}).Extract()
	require.NoError(c, err)
	c.later(func(ctx context.Context) error {
		_, err := routers.RemoveInterface(ctx, c.network, router.ID,
			routers.RemoveInterfaceOpts{SubnetID: c.subnetID}).Extract()
		return err
	})
}

// allow adds a rule to the group that all ports are in.
func (c *cloud) allow(protocol rules.RuleProtocol, port int) {
	_, err := rules.Create(c.Context(), c.network, rules.CreateOpts{SecGroupID: c.groupID, Direction: rules.DirIngress,
		EtherType: rules.EtherType4, Protocol: protocol, PortRangeMin: port, PortRangeMax: port}).Extract()
	require.NoError(c, err)
}

func (c *cloud) createKeyPair() {
	_, err := keypairs.Create(c.Context(), c.compute, keypairs.CreateOpts{Name: "e2e", PublicKey: publicKey}).Extract()
	require.NoError(c, err)
	c.later(func(ctx context.Context) error { return keypairs.Delete(ctx, c.compute, "e2e", nil).ExtractErr() })
}

func (c *cloud) createVolume(opts volumes.CreateOpts) string {
	opts.Name = "e2e"
	volume, err := volumes.Create(c.Context(), c.storage, opts, nil).Extract()
	require.NoError(c, err)
	c.later(func(ctx context.Context) error {
		if err := c.waitForVolume(ctx, volume.ID, "available"); err != nil {
			return err
		}
		return volumes.Delete(ctx, c.storage, volume.ID, nil).ExtractErr()
	})
	c.made(volume.ID)
	c.untilVolume(volume.ID, "available")
	return volume.ID
}

// createSnapshot makes one of a volume, which may be in use.
func (c *cloud) createSnapshot(volume string) string {
	snapshot, err := snapshots.Create(c.Context(), c.storage,
		snapshots.CreateOpts{VolumeID: volume, Name: "e2e", Force: true}).Extract()
	require.NoError(c, err)
	c.later(func(ctx context.Context) error {
		if err := snapshots.Delete(ctx, c.storage, snapshot.ID).ExtractErr(); err != nil {
			return err
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if _, err := snapshots.Get(ctx, c.storage, snapshot.ID).Extract(); err != nil {
				return err
			}
		}
		return fmt.Errorf("snapshot %s is still there", snapshot.ID)
	})
	require.NoError(c, snapshots.WaitForStatus(c.Context(), c.storage, snapshot.ID, "available"))
	return snapshot.ID
}

// untilVolume waits for a volume's status.
func (c *cloud) untilVolume(id, status string) {
	require.NoError(c, c.waitForVolume(c.Context(), id, status))
}

func (c *cloud) waitForVolume(ctx context.Context, id, status string) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	return volumes.WaitForStatus(ctx, c.storage, id, status)
}

// unit is how a service of the box does.
func (c *cloud) unit(name string) Unit {
	var units []Unit
	require.NoError(c, load("run/units.json", &units))
	for _, unit := range units {
		if unit.Name == name {
			return unit
		}
	}
	c.Fatalf("there is no unit %s", name)
	return Unit{}
}

// kill ends a process of the box, which has no say in it.
func (c *cloud) kill(pid int) {
	require.Greater(c, pid, 1)
	require.NoError(c, c.record.enter("kill", "-9", fmt.Sprint(pid)).Run())
}

// inTheBox lists what there is in the box of the test's instances, ports and volumes.
func (c *cloud) inTheBox() string {
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

// instance is one of the test's.
type instance struct {
	*cloud
	ID, port, address string
}

// boot creates an instance and waits until its user-data has been worked off; nil when it does not get there.
func (c *cloud) boot(name string) *instance {
	ctx := c.Context()
	port, err := neutronports.Create(ctx, c.network,
		neutronports.CreateOpts{Name: name, NetworkID: c.netID, SecurityGroups: &[]string{c.groupID}}).Extract()
	if err != nil {
		c.Errorf("%s: %v", name, err)
		return nil
	}
	c.later(func(ctx context.Context) error { return neutronports.Delete(ctx, c.network, port.ID).ExtractErr() })
	server, err := servers.Create(ctx,
		c.compute, keypairs.CreateOptsExt{KeyName: "e2e", CreateOptsBuilder: servers.CreateOpts{
			Name: name, ImageRef: imageID, FlavorRef: c.flavor.ID, Networks: []servers.Network{{Port: port.ID}},
			UserData: []byte(base64.StdEncoding.EncodeToString([]byte(userData)))}}, nil).Extract()
	if err != nil {
		c.Errorf("%s: %v", name, err)
		return nil
	}
	c.made(port.ID, server.ID)
	i := &instance{c, server.ID, port.ID, port.FixedIPs[0].IPAddress}
	c.later(func(context.Context) error { i.delete(); return nil })
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
	c.Errorf("%s: its user-data have not run: %v\n%s", name, err, inside)
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

// until waits for the instance's status.
func (i *instance) until(status string, timeout time.Duration) {
	require.Eventually(i, func() bool {
		server, err := servers.Get(i.Context(), i.compute, i.ID).Extract()
		return err == nil && server.Status == status
	}, timeout, 200*time.Millisecond, "instance is not %s", status)
}

// eventually waits until condition is true; if it never is, its last state is
// told, and what the instance wrote to its console.
func (i *instance) eventually(timeout time.Duration, condition func() (state string, ok bool)) {
	i.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(200 * time.Millisecond) {
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

// untilRebooted waits for an init of the instance other than leader, the one it had.
func (i *instance) untilRebooted(leader int, timeout time.Duration) {
	i.Helper()
	i.eventually(timeout, func() (string, bool) {
		now := i.leader()
		return fmt.Sprintf("init was %d, is %d", leader, now), now != 0 && now != leader
	})
}

func (i *instance) reboot(kind servers.RebootMethod) {
	require.NoError(i, servers.Reboot(i.Context(), i.compute, i.ID, servers.RebootOpts{Type: kind}).ExtractErr())
}

func (i *instance) attach(volume string) {
	_, err := volumeattach.Create(i.Context(), i.compute, i.ID, volumeattach.CreateOpts{VolumeID: volume}).Extract()
	require.NoError(i, err)
	i.untilVolume(volume, "in-use")
}

func (i *instance) detach(volume string) {
	require.NoError(i, volumeattach.Delete(i.Context(), i.compute, i.ID, volume).ExtractErr())
	i.untilVolume(volume, "available")
}

// enter is a command that runs in the instance.
func (i *instance) enter(command ...string) *exec.Cmd {
	return i.record.enter(append([]string{"/opt/devcloud/nova/nspawn-enter", "/var/lib/nova/instances/" + i.ID},
		command...)...)
}

// try runs a shell line in the instance; its output without the last line's end.
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

// run is try for what must succeed.
func (i *instance) run(line string) string {
	output, err := i.try(line)
	require.NoError(i, err)
	return output
}

func (i *instance) succeeds(line string) bool {
	_, err := i.try(line)
	return err == nil
}

// controller is what a program on the instance uses that has an application credential of these roles: the APIs of the
// catalogue's internal endpoints.
func (i *instance) controller(roles ...string) (compute, storage *gophercloud.ServiceClient) {
	ctx := i.Context()
	identity, err := openstack.NewIdentityV3(i.client, inRegion)
	require.NoError(i, err)
	user, err := i.client.GetAuthResult().(tokens.CreateResult).ExtractUser()
	require.NoError(i, err)
	opts := applicationcredentials.CreateOpts{Name: "e2e-" + strings.Join(roles, "-")}
	for _, role := range roles {
		opts.Roles = append(opts.Roles, applicationcredentials.Role{Name: role})
	}
	credential, err := applicationcredentials.Create(ctx, identity, user.ID, opts).Extract()
	require.NoError(i, err)
	i.later(func(ctx context.Context) error {
		return applicationcredentials.Delete(ctx, identity, user.ID, credential.ID).ExtractErr()
	})
	client, err := openstack.NewClient("http://" + externalGateway + ":5000/v3")
	require.NoError(i, err)
	client.HTTPClient.Transport = &http.Transport{DialContext: i.dial, DisableKeepAlives: true}
	i.eventually(patience, func() (string, bool) { // the router may still be being made
		err := openstack.Authenticate(ctx, client, gophercloud.AuthOptions{IdentityEndpoint: client.IdentityEndpoint,
			ApplicationCredentialID: credential.ID, ApplicationCredentialSecret: credential.Secret})
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
	defer ours.Close() // net.FileConn has it twice
	defer theirs.Close()
	relay := i.enter("socat", "-", "TCP:"+address)
	relay.Stdin, relay.Stdout = theirs, theirs
	if err := relay.Start(); err != nil {
		return nil, err
	}
	go relay.Wait()
	return net.FileConn(ours)
}

// pings says whether an answer to a ping from the address comes back.
func (i *instance) pings(to *instance, from string) bool {
	return i.succeeds(fmt.Sprintf("ping -c 1 -W 1 -I %s %s", from, to.address))
}

// leader is the PID, in the box, of the instance's init; 0 where it has none.
func (i *instance) leader() (pid int) {
	output, _ := i.record.enter("sh", "-c", fmt.Sprintf(
		`awk '/^NSpid:/ && NF == 3 && $3 == 1 { print $2 }' $(find /sys/fs/cgroup/systemd/nova-%s -name cgroup.procs -exec `+
			`sed 's,.*,/proc/&/status,' {} +)`, i.ID)).Output()
	_, _ = fmt.Sscan(string(output), &pid)
	return pid
}
