//go:build e2e

package tests

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/tenancy"
)

// testListeners compares the table in docs/listeners.md with the sockets of all machines, and with scans from all
// places of the table. The Deployment hello must run.
func testListeners(t *testing.T, e *engine, api *api, plan cluster.Plan) {
	rows := listeners(t, plan)
	ports := map[string][]int{} // by protocol: all ports of the table and of the machines
	step(t, "programs have only the sockets of docs/listeners.md", func(t *testing.T) {
		begin := time.Now()
		eventually(t, 20*time.Second, func() error { // a client of DNS or NTP has a socket for a moment
			var wrong []string
			for _, role := range cluster.Roles {
				found := map[string][]socket{}
				for _, machine := range plan.WithRole(role) {
					output, err := e.ssh(machine.ID, "ss -Hltunp").Output()
					if err == nil {
						found[machine.ID], err = sockets(string(output), machine.Address)
					}
					if err != nil {
						return fmt.Errorf("%s: %w", machine.ID, err)
					}
					for _, s := range found[machine.ID] {
						port, _ := strconv.Atoi(s.port)
						ports[s.protocol] = append(ports[s.protocol], port)
					}
				}
				wrong = append(wrong, compareSockets(rows, role, found)...)
			}
			if len(wrong) > 0 {
				return fmt.Errorf("%s", strings.Join(wrong, "\n"))
			}
			return nil
		})
		t.Logf("%d sockets after %.1f s", len(ports["tcp"])+len(ports["udp"]), time.Since(begin).Seconds())
	})
	step(t, "ports answer only the places of docs/listeners.md", func(t *testing.T) {
		for _, row := range rows {
			if port, err := strconv.Atoi(row.port); err == nil {
				ports[row.protocol] = append(ports[row.protocol], port)
			}
		}
		for range 32 {
			ports["tcp"] = append(ports["tcp"], 1+rand.IntN(1<<16-1))
		}
		// one, because a machine limits the packets with which it refuses UDP
		ports["udp"] = append(ports["udp"], 1024+rand.IntN(1<<15-1024))
		from := e.places(t, api, plan)
		var scans sync.WaitGroup
		for protocol, ports := range ports {
			slices.Sort(ports)
			ports = slices.Compact(ports)
			for _, place := range places {
				scans.Go(func() {
					begin := time.Now()
					wrong, err := from[place].compare(plan, rows, place, protocol, ports)
					assert.NoError(t, err, place)
					assert.Empty(t, wrong)
					t.Logf("from %s: %d %s ports of %d machines in %.1f s", place, len(ports), protocol, len(plan.Machines),
						time.Since(begin).Seconds())
				})
			}
		}
		scans.Wait()
	})
}

// origin is where a scan comes from. The source address is optional.
type origin struct {
	namespace
	source netip.Addr
}

// compare scans ports of all machines, and returns those that answer differently from the table. It scans unexpected
// silence again, because a busy machine may answer late.
func (o origin) compare(plan cluster.Plan, rows []listener, place, protocol string, ports []int) (
	wrong []string, err error) {
	for range 3 {
		var targets []netip.AddrPort
		for _, machine := range plan.Machines {
			for _, port := range ports {
				if answer(rows, machine.Role, protocol, strconv.Itoa(port), place) != notScanned {
					targets = append(targets, netip.AddrPortFrom(machine.Address, uint16(port)))
				}
			}
		}
		var answers map[netip.AddrPort]string
		err = o.do(func() (err error) {
			answers, err = scan(protocol, o.source, targets, 4*time.Second)
			return err
		})
		if err != nil {
			return nil, err
		}
		wrong = nil
		for _, machine := range plan.Machines {
			ofMachine := map[int]string{}
			for target, answer := range answers {
				if target.Addr() == machine.Address {
					ofMachine[int(target.Port())] = answer
				}
			}
			wrong = append(wrong, compareAnswers(rows, machine, place, protocol, ofMachine)...)
		}
		if len(wrong) == 0 {
			return nil, nil
		}
	}
	return wrong, nil
}

// places returns the origins of scans. The tenant's pod is a new one in the namespace of this project.
func (e *engine) places(t *testing.T, api *api, plan cluster.Plan) map[string]origin {
	t.Helper()
	namespaces, err := api.client.CoreV1().Namespaces().List(t.Context(),
		metav1.ListOptions{LabelSelector: tenancy.ProjectLabel})
	require.NoError(t, err)
	var tenant string
	for _, namespace := range namespaces.Items {
		if strings.HasPrefix(namespace.Name, "kubernetes-default-") {
			tenant = "--namespace=" + namespace.Name
		}
	}
	require.NotEmpty(t, tenant)
	const name = "scanner"
	api.kubectl(t, "run", name, tenant, "--image=devcloud.test/busybox:1.35", "--", "sleep", "600")
	t.Cleanup(func() { api.kubectl(t, "delete", "pod", name, tenant, "--now", "--wait=false") })
	api.await(t, "wait", "--for=condition=Ready", "pod/"+name, tenant)

	const other = "192.0.2.1" // an address that no security group allows
	router := openNamespace(t, "router")
	_, err = router.ip("address", "add", other+"/32", "dev", "lo")
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = router.ip("address", "del", other+"/32", "dev", "lo") })
	return map[string]origin{
		"pod":    {namespace: namespaceAt(t, api.helloPods(t)[0].Status.PodIP)},
		"tenant": {namespace: namespaceAt(t, api.field(t, ".status.podIP", "pod", name, tenant))},
		"worker": {namespace: namespaceAt(t, plan.WithRole(cluster.RoleWorker)[0].Address.String())},
		"router": {namespace: router}, "client": {namespace: openNamespace(t, "")},
		"other": {router, netip.MustParseAddr(other)},
	}
}

// namespaceAt returns the network namespace of devcloud that has an address: that of a machine or of a pod.
func namespaceAt(t testing.TB, address string) namespace {
	t.Helper()
	box := openNamespace(t, "")
	paths, err := filepath.Glob(filepath.Join(box.root, "proc/[0-9]*/ns/net")) // all processes of the box
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, path := range paths {
		id, err := os.Readlink(path)
		if err != nil || seen[id] { // the process may have ended
			continue
		}
		seen[id] = true
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		n := namespace{file, box.root}
		var addresses []net.Addr
		require.NoError(t, n.do(func() (err error) {
			addresses, err = net.InterfaceAddrs()
			return err
		}))
		if slices.ContainsFunc(addresses, func(a net.Addr) bool { return strings.HasPrefix(a.String(), address+"/") }) {
			t.Cleanup(func() { file.Close() })
			return n
		}
		file.Close()
	}
	require.Fail(t, "no network namespace has the address "+address)
	return namespace{}
}
