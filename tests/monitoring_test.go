//go:build e2e

package tests

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// prometheus is the API of Prometheus.
type prometheus struct{ address string }

// prometheus forwards a port of this host to Prometheus, as operators do.
func (a *api) prometheus(t *testing.T) prometheus {
	t.Helper()
	cmd := a.engine.shell(`exec kubectl --kubeconfig "$@"`, a.kubeconfig, "port-forward", "--namespace=monitoring",
		"deployment/prometheus", ":9090")
	return prometheus{forwarded(t, cmd)}
}

// forwarded starts a kubectl that forwards a free port of this host until the end of the test. It returns the address.
func forwarded(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	require.NotEmpty(t, address, line)
	return address
}

// series is one result of a query.
type series struct {
	labels map[string]string
	value  float64
}

// query evaluates an expression now.
func (p prometheus) query(ctx context.Context, expression string) ([]series, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+p.address+"/api/v1/query?query="+url.QueryEscape(expression), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expression, answer.Error)
	}
	var out []series
	for _, result := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(result.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, series{result.Metric, value})
	}
	return out, nil
}

// fault is a fault that causes an alert.
type fault struct {
	alert, matchers string
	begin, end      func(t *testing.T)
}

// testMonitoring checks that all targets are up, that alerts fire during faults and clear after them, and which clients
// can connect. The faults do not affect the steps that run in parallel.
func testMonitoring(t *testing.T, e *engine, api *api) {
	prometheus := api.prometheus(t)
	step(t, "all targets are up, and need at most 700 MiB", func(t *testing.T) {
		begin := time.Now()
		jobs := map[string]int{
			"machine": 7, "etcd": 3, "kube-apiserver": 2, "kube-controller-manager": 2, "kube-scheduler": 2,
			"cloud-controller-manager": 2, "kube-proxy": 4, "felix": 4, "kubelet": 4, "cadvisor": 4,
			"dns": 4, "cinder-csi": 2, "monitoring": 3,
		}
		eventually(t, 3*time.Minute, func() error {
			found, err := prometheus.query(t.Context(), "up")
			up := map[string]int{}
			for _, target := range found {
				if target.value == 1 {
					up[target.labels["job"]]++
				} else if err == nil {
					err = fmt.Errorf("down: %v", target.labels)
				}
			}
			for job, number := range jobs {
				if err == nil && up[job] != number {
					err = fmt.Errorf("%s: %d of %d targets are up", job, up[job], number)
				}
			}
			if err == nil && len(up) != len(jobs) {
				err = fmt.Errorf("targets are up: %v, not %v", up, jobs)
			}
			return err
		})
		memory, err := prometheus.query(t.Context(), `process_resident_memory_bytes{job=~"machine|monitoring"}`)
		require.NoError(t, err)
		sum := 0.0
		for _, process := range memory {
			sum += process.value
			t.Logf("%s: %.0f MiB", process.labels["instance"], process.value/1024/1024)
		}
		assert.Len(t, memory, 10)
		assert.LessOrEqual(t, sum/1024/1024, 700.0)
		t.Logf("all targets were up after %.0f s. Prometheus, Alertmanager, Perses and 7 exporters use %.0f MiB",
			time.Since(begin).Seconds(), sum/1024/1024)
	})
	step(t, "each panel of the dashboards has data", func(t *testing.T) {
		forward := e.shell(`exec kubectl --kubeconfig "$@"`, append([]string{api.kubeconfig}, forwardPerses...)...)
		testDashboards(t, forward, "")
	})
	step(t, "the certificate of Prometheus reads metrics of etcd, and no key", func(t *testing.T) {
		for _, file := range []string{"crt", "key"} {
			text := api.field(t, `.data.tls\.`+file, "secret", "prometheus-pki", "--namespace=monitoring")
			e.on(t, "e2e-etcd-0", "umask 077; echo "+text+" | base64 -d >/run/prometheus."+file)
		}
		const certificate = "--cert /run/prometheus.crt --key /run/prometheus.key"
		metrics := "curl --silent --show-error --fail --cacert /etc/etcd/pki/ca.crt %s " +
			"https://$(hostname --all-ip-addresses | cut -d ' ' -f 1):9100/etcd"
		assert.Contains(t, e.on(t, "e2e-etcd-0", fmt.Sprintf(metrics, certificate)), "\netcd_server_has_leader 1\n")
		out, err := e.ssh("e2e-etcd-0", fmt.Sprintf(metrics, "")).CombinedOutput()
		assert.Error(t, err, "without a certificate: %.100s", out)
		out, err = e.ssh("e2e-etcd-0", "ETCDCTL_CERT= ETCDCTL_KEY= etcdctl --command-timeout=5s "+certificate+
			" get --prefix / --keys-only").CombinedOutput()
		assert.Error(t, err)
		assert.NotContains(t, string(out), "/registry/")
		e.on(t, "e2e-etcd-0", "rm /run/prometheus.*")
	})
	step(t, "pods of tenants reach no part of monitoring, and the router reaches the dashboards", func(t *testing.T) {
		get := func(address string) error {
			_, err := api.try("exec", "deployment/hello", "--", "timeout", answerSeconds, "wget", "-q", "-O-", "http://"+address)
			return err
		}
		for service, port := range map[string]string{"prometheus": "9090", "alertmanager": "9093", "perses": "80"} {
			address := api.field(t, ".spec.clusterIP", "service", service, "--namespace=monitoring") + ":" + port
			assert.Error(t, get(address), service)
			require.NoError(t, get("hello"), "the same command reaches a Service of the pod's own namespace")
			if service == "perses" {
				const health = `exec "$1" exec router -- curl -sS --fail --max-time 10 "http://$2/api/v1/health"`
				out, err := e.shell(health, e.devcloud(), address).CombinedOutput()
				require.NoError(t, err, string(out))
			}
		}
	})
	step(t, "five alerts fire during faults, and clear after them", func(t *testing.T) {
		const file = "/run/unreachable-peer.yaml"
		requests := api.client.CertificatesV1().CertificateSigningRequests()
		faults := []fault{
			{
				"EtcdMemberDown", `instance="e2e-etcd-2"`,
				func(t *testing.T) { e.on(t, "e2e-etcd-2", "systemctl stop etcd") },
				func(t *testing.T) { e.on(t, "e2e-etcd-2", "systemctl start etcd") },
			},
			{
				"DiskAlmostFull", `instance="e2e-etcd-2",mountpoint="/var/lib/etcd"`,
				func(t *testing.T) {
					e.on(t, "e2e-etcd-2", "fallocate --length $(df --output=avail --block-size=1 /var/lib/etcd | tail -n 1) "+
						"/var/lib/etcd/filler")
				},
				func(t *testing.T) { e.on(t, "e2e-etcd-2", "rm /var/lib/etcd/filler") },
			},
			{
				"BGPSessionDown", `instance="e2e-control-plane-1",peer="10.0.0.253"`,
				func(t *testing.T) {
					e.on(t, "e2e-control-plane-1", "printf 'apiVersion: projectcalico.org/v3\nkind: BGPPeer\n"+
						"metadata: {name: unreachable}\nspec: {node: e2e-control-plane-1, peerIP: 10.0.0.253, "+
						"asNumber: 65009}\n' >"+file+" && calicoctl apply --filename="+file)
				},
				func(t *testing.T) { e.on(t, "e2e-control-plane-1", "calicoctl delete --filename="+file) },
			},
			{
				"CertificateRequestPending", ``,
				func(t *testing.T) {
					key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
					require.NoError(t, err)
					der, err := x509.CreateCertificateRequest(rand.Reader,
						&x509.CertificateRequest{Subject: pkix.Name{CommonName: "nobody"}}, key)
					require.NoError(t, err)
					_, err = requests.Create(t.Context(), &certificatesv1.CertificateSigningRequest{
						ObjectMeta: metav1.ObjectMeta{Name: "nobody"},
						Spec: certificatesv1.CertificateSigningRequestSpec{
							Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
							SignerName: "example.com/nobody", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
						},
					}, metav1.CreateOptions{})
					require.NoError(t, err)
				},
				func(t *testing.T) { require.NoError(t, requests.Delete(t.Context(), "nobody", metav1.DeleteOptions{})) },
			},
			{
				"TargetDown", `job="machine",instance="e2e-worker-1"`,
				func(t *testing.T) { e.on(t, "e2e-worker-1", "systemctl stop machine-metrics") },
				func(t *testing.T) { e.on(t, "e2e-worker-1", "systemctl start machine-metrics") },
			},
		}
		// firing waits until all alerts of faults fire, or none of them.
		firing := func(want bool) {
			begin := time.Now()
			waiting := slices.Clone(faults)
			eventually(t, 8*time.Minute, func() (err error) {
				waiting = slices.DeleteFunc(waiting, func(f fault) bool {
					found, failed := prometheus.query(t.Context(),
						fmt.Sprintf(`ALERTS{alertstate="firing",alertname=%q,%s}`, f.alert, f.matchers))
					if failed != nil || (len(found) > 0) != want {
						err = fmt.Errorf("%s: fires: %t, error: %v", f.alert, !want, failed)
						return false
					}
					t.Logf("%s fires: %t after %.0f s", f.alert, want, time.Since(begin).Seconds())
					return true
				})
				return err
			})
		}
		for _, f := range faults {
			f.begin(t)
		}
		firing(true)
		eventually(t, time.Minute, func() error {
			found, err := prometheus.query(t.Context(), `sum(alertmanager_alerts{state="active"})`)
			if err == nil && (len(found) != 1 || found[0].value < float64(len(faults))) {
				err = fmt.Errorf("Alertmanager has too few alerts: %v", found)
			}
			return err
		})
		for _, f := range slices.Backward(faults) { // the volume is not full when the member starts
			f.end(t)
		}
		firing(false)
		e.waitForEtcd(t)
	})
}
