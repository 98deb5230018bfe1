//go:build e2e

package tests

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
)

// BenchmarkScale creates and deletes clusters with growing numbers of workers on Nova's fake driver. It also
// prints the floor of each size: the time to create the workers' ports and instances without Pulumi. The
// floor uses the same API calls and the same parallelism. Run it with -benchtime 1x.
func BenchmarkScale(b *testing.B) {
	requireFake(b, "make bench-scale")
	const name = "bench"
	e := newProjectEngine(b, "tests/scale", name, cloudEnv, workers(b, 1))
	openstack := connect(b, e.getenv("OS_CLIENT_CONFIG_FILE"))
	openstack.sweep(b, name) // deletes resources of a killed run
	b.Cleanup(func() { openstack.sweep(b, name) })
	e.must("preview") // links the program
	parallel, err := strconv.Atoi(e.getenv("PULUMI_PARALLEL"))
	require.NoError(b, err)

	for _, n := range []int{30, 100, 300} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			edit := workers(b, n)
			floorUp, floorDestroy := openstack.direct(b, name, edit, parallel)
			e.configure(b, edit)
			up, memory := e.measure(b, "up", "--yes", "--skip-preview")
			resources, size := e.stateSize(b)
			repeated, _ := e.measure(b, "up", "--yes", "--skip-preview", "--expect-no-changes")
			destroy, _ := e.measure(b, "destroy", "--yes", "--skip-preview")
			record(b, fmt.Sprintf(`The floor creates only the workers' ports and instances, without Pulumi.
It uses the same API calls. Up to %d run in parallel, like the engine's steps.

%d workers     with Pulumi   floor
up, s               %8.0f %7.0f
resources/s         %8.1f %7.1f
second up, s        %8.0f
destroy, s          %8.0f %7.0f
engine's peak, MiB  %8.0f
state, MiB          %8.1f
`, parallel, n, up, floorUp, float64(resources)/up, float64(2*n)/floorUp, repeated, destroy, floorDestroy, memory,
				size))
			b.ReportMetric(up/float64(n), "s/worker")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// requireFake skips a test or a benchmark unless devcloud runs with Nova's fake driver.
func requireFake(t testing.TB, command string) {
	t.Helper()
	var devcloud struct{ Compute string }
	text, err := os.ReadFile(dirs.State("devcloud", "record.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &devcloud))
	if devcloud.Compute != "fake" {
		t.Skip("needs devcloud up --compute fake: " + command)
	}
}

// measure runs pulumi. It returns the duration in seconds and the engine's peak memory in MiB.
func (e *engine) measure(b *testing.B, args ...string) (seconds, memory float64) {
	b.Helper()
	var out bytes.Buffer
	cmd := e.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	require.NoError(b, cmd.Start())
	done := make(chan error)
	go func() { done <- cmd.Wait() }()
	for peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`); ; {
		select {
		case err := <-done:
			seconds = time.Since(begin).Seconds()
			b.Logf("pulumi %s: %.0f s, %.0f MiB", args[0], seconds, memory)
			require.NoError(b, err, out.String())
			return seconds, memory
		case <-time.After(100 * time.Millisecond):
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if found := peak.FindSubmatch(status); found != nil {
				kib, err := strconv.Atoi(string(found[1]))
				require.NoError(b, err)
				memory = float64(kib) / 1024
			}
		}
	}
}

// stateSize returns the number of OpenStack resources in the state, and the size of the whole state in MiB.
func (e *engine) stateSize(b *testing.B) (resources int, size float64) {
	b.Helper()
	export := e.must("stack", "export")
	var state struct {
		Deployment struct{ Resources []struct{ Type string } }
	}
	require.NoError(b, json.Unmarshal([]byte(export), &state))
	for _, r := range state.Deployment.Resources {
		if strings.HasPrefix(r.Type, "openstack:") {
			resources++
		}
	}
	return resources, float64(len(export)) / (1 << 20)
}

// direct creates and deletes a port and an instance for each worker of a configuration, up to parallel of
// them at a time. It returns the seconds for both.
func (c cloud) direct(b *testing.B, name string, edit func(string) string, parallel int) (create, remove float64) {
	b.Helper()
	ctx, nova, neutron := b.Context(), c.clients["compute"], c.clients["network"]
	config, err := cluster.Decode(name, edited(b, "../Pulumi.dev.yaml", edit)["kubernetes-openstack:cluster"])
	require.NoError(b, err)
	plan := cluster.NewPlan(config)
	workers := plan.WithRole(cluster.RoleWorker)
	pages, err := flavors.ListDetail(nova, nil).AllPages(ctx)
	require.NoError(b, err)
	all, err := flavors.ExtractFlavors(pages)
	require.NoError(b, err)
	byName := map[string]string{}
	for _, flavor := range all {
		byName[flavor.Name] = flavor.ID
	}
	network, err := networks.Create(ctx, neutron, networks.CreateOpts{Name: name}).Extract()
	require.NoError(b, err)
	subnet, err := subnets.Create(ctx, neutron, subnets.CreateOpts{
		Name: name, NetworkID: network.ID, IPVersion: gophercloud.IPv4, CIDR: plan.Network.CIDR.String(),
		AllocationPools: []subnets.AllocationPool{{Start: plan.NeutronFirst.String(), End: plan.NeutronLast.String()}},
	}).Extract()
	require.NoError(b, err)
	random := make([]byte, 9<<10)
	_, _ = rand.Read(random)
	userData := []byte(base64.StdEncoding.EncodeToString(random)) // as large as a worker's
	yes := true

	inParallel := func(each func(i int) error) float64 {
		var group errgroup.Group
		group.SetLimit(parallel)
		begin := time.Now()
		for i := range workers {
			group.Go(func() error { return each(i) })
		}
		require.NoError(b, group.Wait())
		return time.Since(begin).Seconds()
	}
	const deleted = "DELETED"
	// The provider also waits 3 s between two requests. Shorter waits would use most of Nova's processor time.
	waitForStatus := func(id, status string) error {
		for {
			time.Sleep(3 * time.Second)
			server, err := servers.Get(ctx, nova, id).Extract()
			switch {
			case gophercloud.ResponseCodeIs(err, http.StatusNotFound) && status == deleted:
				return nil
			case err != nil:
				return err
			case server.Status == status:
				return nil
			case server.Status == "ERROR":
				return fmt.Errorf("instance %s: %s", id, server.Fault.Message)
			}
		}
	}
	portIDs, serverIDs := make([]string, len(workers)), make([]string, len(workers))
	create = inParallel(func(i int) error {
		port, err := ports.Create(ctx, neutron, ports.CreateOpts{
			Name: workers[i].ID, NetworkID: network.ID,
			FixedIPs: []ports.IP{{SubnetID: subnet.ID, IPAddress: workers[i].Address.String()}},
		}).Extract()
		if err != nil {
			return err
		}
		server, err := servers.Create(ctx, nova, servers.CreateOpts{
			Name: workers[i].ID, FlavorRef: byName[workers[i].Flavor], ImageRef: plan.Image.ID,
			Networks:    []servers.Network{{Port: port.ID}},
			ConfigDrive: &yes, UserData: userData,
		}, nil).Extract()
		if err != nil {
			return err
		}
		portIDs[i], serverIDs[i] = port.ID, server.ID
		return waitForStatus(server.ID, "ACTIVE")
	})
	remove = inParallel(func(i int) error {
		if err := servers.Stop(ctx, nova, serverIDs[i]).ExtractErr(); err != nil {
			return err
		}
		if err := waitForStatus(serverIDs[i], "SHUTOFF"); err != nil {
			return err
		}
		if err := servers.Delete(ctx, nova, serverIDs[i]).ExtractErr(); err != nil {
			return err
		}
		if err := waitForStatus(serverIDs[i], deleted); err != nil {
			return err
		}
		return ports.Delete(ctx, neutron, portIDs[i]).ExtractErr()
	})
	b.Logf("floor: up %.0f s, destroy %.0f s", create, remove)
	require.NoError(b, networks.Delete(ctx, neutron, network.ID).ExtractErr())
	return create, remove
}
