//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/drift"
)

// pendingRequest is a certificate request that no program of the cluster approves.
const pendingRequest = `base64=$(openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
  -keyout /dev/null -subj /CN=drift 2>/dev/null | base64 -w0)
echo "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: drift},
  spec: {request: $base64, signerName: example.com/drift, usages: [client auth]}}" |
  kubectl --kubeconfig "$1" create --filename -`

// testDrift checks that a new cluster has no drift, and that drift reports exactly what was changed by hand.
func testDrift(t *testing.T, e *engine, api *api, openstack cloud) {
	program := built(t, "drift")
	// find returns the report, the table and the exit code of drift.
	find := func() (report drift.Report, code int, err error) {
		cmd := e.shell(`exec "$1" -stack "$2" -json`, program, e.stack)
		text, err := output(cmd)
		if code = cmd.ProcessState.ExitCode(); code != 0 && code != 2 {
			return report, code, err
		}
		return report, code, json.Unmarshal([]byte(text), &report)
	}
	// is returns an error until the report has exactly these findings, as MACHINE|KIND|NAME|TEXT.
	is := func(want ...string) func() error {
		slices.Sort(want)
		return func() error {
			report, code, err := find()
			if err != nil {
				return err
			}
			var got []string
			for _, f := range report.Findings {
				got = append(got, strings.Join([]string{f.Machine, f.Kind, f.Name, f.Text}, "|"))
			}
			slices.Sort(got)
			if wanted := map[bool]int{true: 0, false: 2}[len(want) == 0]; !slices.Equal(got, want) || code != wanted {
				return fmt.Errorf("exit code %d:\n%s\nmust be:\n%s", code, report, strings.Join(want, "\n"))
			}
			return nil
		}
	}
	step(t, "drift finds nothing in a new cluster, and then exactly each change by hand", func(t *testing.T) {
		ctx, network := t.Context(), openstack.clients["network"]
		begin := time.Now()
		eventually(t, time.Minute, is())
		t.Logf("no drift, after %.1f s", time.Since(begin).Seconds())

		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			openstack.stop(t, "e2e-etcd-2")
		}()
		group := openstack.named(t, "security-groups", "e2e-worker")
		rule, err := rules.Create(ctx, network, rules.CreateOpts{SecGroupID: group, Direction: rules.DirIngress,
			EtherType: rules.EtherType4, Protocol: rules.ProtocolTCP, PortRangeMin: 22, PortRangeMax: 22,
			RemoteIPPrefix: "192.0.2.0/24"}).Extract()
		require.NoError(t, err)
		port, name := openstack.named(t, "ports", "e2e-worker-0"), "by-hand"
		_, err = ports.Update(ctx, network, port, ports.UpdateOpts{Name: &name}).Extract()
		require.NoError(t, err)
		e.run(t, pendingRequest, api.kubeconfig)
		api.kubectl(t, "cordon", "e2e-worker-0")
		e.on(t, "e2e-worker-1", "systemctl stop calico-bird")
		e.on(t, "e2e-control-plane-1", "systemctl stop kube-apiserver")
		<-stopped
		eventually(t, time.Minute, is(
			"|rule|e2e-worker tcp 22 from 192.0.2.0/24|belongs to no resource of the stack: "+rule.ID,
			"|certificate request|drift|is pending: example.com/drift, of kubernetes-admin",
			"e2e-worker-0|port||name is by-hand, not e2e-worker-0",
			"e2e-worker-0|node||is cordoned: it accepts no new pods",
			"e2e-worker-1|unit|calico-bird|is waiting: it was stopped",
			"e2e-worker-1|BGP session|calico-peers|no BGP session with any peer: BIRD does not respond",
			"e2e-control-plane-1|unit|kube-apiserver|is waiting: it was stopped",
			"e2e-control-plane-1|Kubernetes API||kube-apiserver does not serve",
			"e2e-etcd-2|instance||powerState is SHUTOFF, not active",
		))
		table, err := output(e.shell(`exec "$1" -stack "$2"`, program, e.stack))
		t.Log("\n" + table)
		assert.ErrorContains(t, err, "exit status 2")
		t.Logf("all found, after %.1f s", time.Since(begin).Seconds())

		openstack.start(t, "e2e-etcd-2")
		e.on(t, "e2e-control-plane-1", "systemctl start kube-apiserver")
		e.on(t, "e2e-worker-1", "systemctl start calico-bird")
		require.NoError(t, rules.Delete(ctx, network, rule.ID).ExtractErr())
		name = "e2e-worker-0"
		_, err = ports.Update(ctx, network, port, ports.UpdateOpts{Name: &name}).Extract()
		require.NoError(t, err)
		api.kubectl(t, "delete", "certificatesigningrequest", "drift")
		api.kubectl(t, "uncordon", "e2e-worker-0")
		eventually(t, 2*time.Minute, is())
		e.waitForEtcd(t)
		t.Logf("no drift again, after %.1f s", time.Since(begin).Seconds())
	})
	step(t, "drift reports an unreachable OpenStack and an unreachable API", func(t *testing.T) {
		// in a network namespace that has only the interface lo
		cmd := e.shell(`exec unshare --net bash -c 'ip link set lo up; exec "$1" -stack "$2" -json -timeout 3s' bash "$@"`,
			program, e.stack)
		text, _ := cmd.Output()
		require.Equal(t, 2, cmd.ProcessState.ExitCode(), string(text))
		var report drift.Report
		require.NoError(t, json.Unmarshal(text, &report))
		require.Len(t, report.Findings, 2, report.String())
		assert.Equal(t, "Kubernetes API", report.Findings[0].Kind)
		assert.Equal(t, "OpenStack API", report.Findings[1].Kind)
	})
}
