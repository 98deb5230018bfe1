package k8s

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
)

// promtool runs Prometheus' own checks in a folder with the alerts.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	program := dirs.Mirror("devcloud.test/promtool")
	require.FileExists(t, program, "run `make toolchain-all`")
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// alert is a rule of a file of alerts.
type alert struct {
	Alert       string
	Labels      map[string]string
	Annotations map[string]string
}

// alerts returns all alerts, and copies their files to a folder.
func alerts(t *testing.T) (all []alert, dir string) {
	t.Helper()
	dir = t.TempDir()
	files, err := folder("monitoring/alerts")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text.(string)), 0o600))
		var content struct{ Groups []struct{ Rules []alert } }
		require.NoError(t, yaml.Unmarshal([]byte(text.(string)), &content))
		for _, group := range content.Groups {
			all = append(all, group.Rules...)
		}
	}
	return all, dir
}

// TestPrometheusAcceptsItsFiles checks the configuration with one machine and with several pools, and all alerts.
func TestPrometheusAcceptsItsFiles(t *testing.T) {
	_, dir := alerts(t)
	text, err := prometheusConfig(cluster.NewPlan(small(t)))
	require.NoError(t, err)
	text = strings.ReplaceAll(text, "/etc/prometheus/alerts/", "")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(text), 0o600))
	// the files of certificates and tokens are in the pod
	promtool(t, dir, "check", "config", "--syntax-only", "--lint=all", "--lint-fatal", "prometheus.yml")
	promtool(t, dir, "check", "rules", "--lint=all", "--lint-fatal", "cluster.yaml")
}

// TestEveryMachineIsATarget checks that the configuration has each machine of the plan, and the port that the security
// groups of etcd allow.
func TestEveryMachineIsATarget(t *testing.T) {
	plan := cluster.NewPlan(small(t))
	text, err := prometheusConfig(plan)
	require.NoError(t, err)
	for _, m := range plan.Machines {
		assert.Contains(t, text, fmt.Sprintf("- targets: [\"%s:%d\"]\n        labels: {instance: %q, role: %q}\n", m.Address,
			cluster.MetricsPort, m.ID, m.Role))
	}
}

// TestMonitoringIsOff checks that a cluster without monitoring has no object and no image of it, and that no other
// manifest opens a port for it.
func TestMonitoringIsOff(t *testing.T) {
	config := small(t)
	off := cluster.NewPlan(config)
	config.Monitoring.Enabled = true
	on := cluster.NewPlan(config)
	images, err := Images(off)
	require.NoError(t, err)
	assert.False(t, slices.ContainsFunc(images, func(image string) bool { return strings.Contains(image, "prometheus") }))
	for name, row := range map[string]struct {
		manifest func(cluster.Plan) manifest
		text     string
	}{
		"Cinder CSI":       {cinderCSI, "--http-endpoint=:8080\n"},
		"cloud controller": {cloudControllerManager, "--authorization-always-allow-paths=/healthz,/livez,/metrics,/readyz\n"},
	} {
		text, err := row.manifest(off).text()
		require.NoError(t, err)
		assert.NotContains(t, text, row.text, name)
		text, err = row.manifest(on).text()
		require.NoError(t, err)
		assert.Contains(t, text, row.text, name)
	}
}

// TestOpenDashboards checks which clients the network policy of the dashboards allows: never a pod of another
// namespace, and clients outside of the cluster only if the configuration says so.
func TestOpenDashboards(t *testing.T) {
	for _, open := range []bool{false, true} {
		config := small(t)
		config.Monitoring.Enabled, config.Monitoring.OpenDashboards = true, open
		objects, err := monitoring(cluster.NewPlan(config)).objects()
		require.NoError(t, err)
		blocks := 0
		for _, o := range objects {
			if o["kind"] != "NetworkPolicy" {
				continue
			}
			text, err := yaml.Marshal(map[string]any(o)["spec"])
			require.NoError(t, err)
			_, ingress, _ := strings.Cut("\n"+string(text), "\ningress:")
			assert.NotContains(t, ingress, "namespaceSelector", o.name())
			blocks += strings.Count(ingress, " 0.0.0.0/0\n")
			assert.Equal(t, strings.Count(ingress, " 0.0.0.0/0\n"), strings.Count(ingress, " 10.244.0.0/16\n"))
		}
		assert.Equal(t, map[bool]int{false: 0, true: 1}[open], blocks)
	}
}

// TestEveryDashboardHasItsDataSource checks that the default data source of each dashboard is Prometheus' Service. The
// web UI of Perses loads global data sources too late for some panels.
func TestEveryDashboardHasItsDataSource(t *testing.T) {
	type source struct {
		Default bool
		Plugin  struct {
			Kind string
			Spec struct {
				Proxy struct {
					Kind string
					Spec struct{ URL string }
				}
			}
		}
	}
	var want source
	want.Default, want.Plugin.Kind, want.Plugin.Spec.Proxy.Kind = true, "PrometheusDatasource", "HTTPProxy"
	want.Plugin.Spec.Proxy.Spec.URL = "http://prometheus.monitoring.svc.cluster.local:9090"
	files, err := folder("monitoring/dashboards")
	require.NoError(t, err)
	for name, text := range files {
		var content struct {
			Kind string
			Spec struct{ Datasources map[string]source }
		}
		require.NoError(t, yaml.Unmarshal([]byte(text.(string)), &content), name)
		if content.Kind == "Dashboard" {
			assert.Equal(t, map[string]source{"prometheus": want}, content.Spec.Datasources, name)
		}
	}
}

// TestPodsOfMonitoringAreRestricted checks that each container has a memory limit, and that Go's limit is lower.
func TestPodsOfMonitoringAreRestricted(t *testing.T) {
	text, err := monitoring(cluster.NewPlan(small(t))).text()
	require.NoError(t, err)
	limits := regexp.MustCompile(`limits:\n +memory: (\d+)Mi\n`).FindAllStringSubmatch(text, -1)
	goLimits := regexp.MustCompile(`value: (\d+)MiB\n`).FindAllStringSubmatch(text, -1)
	require.Len(t, limits, 3)
	require.Len(t, goLimits, 3)
	for i := range limits {
		var limit, goLimit int
		_, err := fmt.Sscan(limits[i][1]+" "+goLimits[i][1], &limit, &goLimit)
		require.NoError(t, err)
		assert.Less(t, goLimit, limit)
	}
	for _, once := range []string{"runAsNonRoot: true", "readOnlyRootFilesystem: true", "drop: [ALL]",
		"type: RuntimeDefault", "allowPrivilegeEscalation: false", "enableServiceLinks: false"} {
		assert.Equal(t, 3, strings.Count(text, once), once)
	}
}

// TestEveryAlertHasASection checks that docs/operations.md has one section for each alert, and no other.
func TestEveryAlertHasASection(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "\n## Alerts\n")
	require.True(t, found)
	section, _, _ := strings.Cut(after, "\n## ")
	var documented, defined []string
	for _, match := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(section, -1) {
		documented = append(documented, match[1])
	}
	all, _ := alerts(t)
	for _, a := range all {
		defined = append(defined, a.Alert)
		assert.Contains(t, []string{"critical", "warning"}, a.Labels["severity"], a.Alert)
	}
	assert.Equal(t, defined, documented)
}

// values are the samples of a series, one each 30 s: while all is well for 10 minutes, with the fault for 50 minutes,
// and after it.
func values(good, bad string) string { return fmt.Sprintf("%sx19 %sx99 %sx59", good, bad, good) }

// TestAlertsFireAndClear checks for each alert that it does not fire before a fault, that it fires during the fault
// with a readable summary, and that it clears after the fault.
func TestAlertsFireAndClear(t *testing.T) {
	type labels = map[string]string
	type series = map[string]string
	gauge := func(name, good, bad string) series { return series{name: values(good, bad)} }
	rows := map[string]struct {
		series  series
		labels  labels
		summary string
	}{
		"TargetDown": {gauge(`up{job="felix",instance="w0"}`, "1", "0"), labels{"job": "felix", "instance": "w0"},
			"felix of w0 does not respond to Prometheus"},
		"MonitoringFailing": {gauge(`prometheus_config_last_reload_successful{instance="p"}`, "1", "0"),
			labels{"instance": "p"}, "p cannot read its configuration or send notifications"},
		"EtcdMemberDown": {gauge(`up{job="etcd",instance="e0"}`, "1", "0"), labels{"job": "etcd", "instance": "e0"},
			"the member of etcd on e0 does not respond"},
		"EtcdHasNoLeader": {gauge(`etcd_server_has_leader{instance="e0"}`, "1", "0"), labels{"instance": "e0"},
			"the member of etcd on e0 has no leader, so there is no quorum"},
		"EtcdDatabaseAlmostFull": {series{
			`etcd_mvcc_db_total_size_in_bytes{instance="e0"}`: values("10", "90"),
			`etcd_server_quota_backend_bytes{instance="e0"}`:  values("100", "100"),
		}, labels{"instance": "e0"}, "the database of etcd on e0 has 90% of its quota"},
		"EtcdDiskSlow": {series{
			`etcd_disk_wal_fsync_duration_seconds_bucket{instance="e0",le="0.5"}`:  "0+10x19 190x99 200+10x59",
			`etcd_disk_wal_fsync_duration_seconds_bucket{instance="e0",le="1"}`:    "0+10x179",
			`etcd_disk_wal_fsync_duration_seconds_bucket{instance="e0",le="+Inf"}`: "0+10x179",
		}, labels{"instance": "e0"}, "a write of etcd on e0 takes 995ms"},
		"EtcdBackupTooOld": {gauge(`machine_etcd_backup_overdue_timestamp_seconds{instance="e0"}`, "9999", "60"), nil,
			"there is no recent backup of etcd"},
		"APIServerErrors": {series{
			`apiserver_request_total{instance="c0",code="200"}`: "0+80x179",
			`apiserver_request_total{instance="c0",code="500"}`: "0x19 0+20x99 2000x59",
		}, labels{"instance": "c0"}, "the API server on c0 fails 20% of requests"},
		"NodeNotReady": {gauge(`node_collector_unhealthy_nodes_in_zone{instance="c0",zone="az1"}`, "0", "2"), nil,
			"2 nodes are not Ready"},
		"ClaimPending": {gauge(`pv_collector_unbound_pvc_count{instance="c0",namespace="web"}`, "0", "3"),
			labels{"namespace": "web"}, "3 claims have no volume in the namespace web"},
		"CertificateRequestPending": {gauge(`machine_pending_certificate_requests{instance="c0"}`, "0", "1"), nil,
			"1 certificate requests are not approved"},
		"KeystoneWebhookFailing": {gauge(`machine_check_success{instance="c0",check="keystone-webhook"}`, "1", "0"),
			labels{"instance": "c0", "check": "keystone-webhook"},
			"users cannot log in with Keystone tokens at the API server on c0"},
		"TenantSyncFailing": {series{
			`node_systemd_unit_state{instance="c0",name="tenant-sync.service",state="failed"}`: "_x19 1x99",
		}, labels{"instance": "c0", "name": "tenant-sync.service", "state": "failed"}, "tenant-sync on c0 fails"},
		"OpenStackRequestsFailing": {series{
			`openstack_api_requests_total{job="cinder-csi",request="volume_create"}`:       "0+1x179",
			`openstack_api_request_errors_total{job="cinder-csi",request="volume_create"}`: "0x19 0+1x99 99x59",
		}, labels{"job": "cinder-csi", "request": "volume_create"},
			"requests volume_create of cinder-csi to OpenStack fail"},
		"BGPSessionDown": {gauge(`machine_bgp_session_up{instance="w0",peer="10.0.0.1"}`, "1", "0"),
			labels{"instance": "w0", "peer": "10.0.0.1"}, "w0 has no BGP session with 10.0.0.1"},
		"BIRDDown": {gauge(`machine_bird_up{instance="w0"}`, "1", "0"), labels{"instance": "w0"},
			"BIRD on w0 does not respond"},
		"DiskAlmostFull": {series{
			`node_filesystem_avail_bytes{instance="e0",mountpoint="/"}`: values("50", "5"),
			`node_filesystem_size_bytes{instance="e0",mountpoint="/"}`:  values("100", "100"),
		}, labels{"instance": "e0", "mountpoint": "/"}, "/ of e0 has 5% of its space left"},
		"VolumeAlmostFull": {series{
			`kubelet_volume_stats_available_bytes{namespace="web",persistentvolumeclaim="data"}`: values("50", "5"),
			`kubelet_volume_stats_capacity_bytes{namespace="web",persistentvolumeclaim="data"}`:  values("100", "100"),
		}, labels{"namespace": "web", "persistentvolumeclaim": "data"}, "the volume of web/data has 5% left"},
		"MemoryAlmostFull": {series{
			`node_memory_MemAvailable_bytes{instance="e0"}`: values("50", "4"),
			`node_memory_MemTotal_bytes{instance="e0"}`:     values("100", "100"),
		}, labels{"instance": "e0"}, "e0 has 4% of its memory left"},
		"LoadHigh": {series{
			`node_load15{instance="w0"}`:                                values("1", "8"),
			`node_cpu_seconds_total{instance="w0",cpu="0",mode="idle"}`: values("1", "1"),
			`node_cpu_seconds_total{instance="w0",cpu="1",mode="idle"}`: values("1", "1"),
		}, labels{"instance": "w0"}, "w0 has 4 waiting processes for each processor"},
		"UnitFailed": {series{
			`node_systemd_unit_state{instance="w0",name="kubelet.service",state="failed"}`: "_x19 1x99",
		}, labels{"instance": "w0", "name": "kubelet.service", "state": "failed"}, "kubelet.service on w0 has failed"},
		"CertificateExpires": {gauge(`machine_certificate_expiry_timestamp_seconds{instance="c0",file="a.crt"}`, "9999999",
			"867540"), labels{"instance": "c0", "file": "a.crt"}, "a.crt on c0 expires in 10d 0h 0m 0s"},
	}
	all, dir := alerts(t)
	type check struct {
		EvalTime string           `json:"eval_time"`
		Name     string           `json:"alertname"`
		Expected []map[string]any `json:"exp_alerts"`
	}
	var tests []map[string]any
	for _, a := range all {
		row, found := rows[a.Alert]
		require.True(t, found, "%s: must be in the table of this test", a.Alert)
		delete(rows, a.Alert)
		input := []map[string]string{}
		for name, values := range row.series {
			input = append(input, map[string]string{"series": name, "values": values})
		}
		expected := labels{"severity": a.Labels["severity"]}
		for key, value := range row.labels {
			expected[key] = value
		}
		tests = append(tests, map[string]any{
			"interval": "30s", "name": a.Alert, "input_series": input, "alert_rule_test": []check{
				{"9m", a.Alert, nil},
				{"59m", a.Alert, []map[string]any{{"exp_labels": expected, "exp_annotations": labels{"summary": row.summary}}}},
				{"89m", a.Alert, nil},
			},
		})
	}
	assert.Empty(t, rows)
	text, err := yaml.Marshal(map[string]any{"rule_files": []string{"cluster.yaml"}, "evaluation_interval": "30s",
		"tests": tests})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tests.yml"), text, 0o600))
	promtool(t, dir, "test", "rules", "tests.yml")
}

// TestMonitoringVersions checks that the development cluster pulls the versions that the toolchain builds.
func TestMonitoringVersions(t *testing.T) {
	text, err := fs.ReadFile(templates, "monitoring.yaml.tmpl")
	require.NoError(t, err)
	version := func(folder, module string) string {
		text, err := os.ReadFile("../hack/toolchain/" + folder + "/go.mod")
		require.NoError(t, err)
		match := regexp.MustCompile(`github.com/prometheus/` + module + ` v(\S+)`).FindSubmatch(text)
		require.NotNil(t, match)
		return string(match[1])
	}
	alertmanager := version("alertmanager", "alertmanager")
	assert.Contains(t, string(text), "image: quay.io/prometheus/alertmanager:v"+alertmanager+"\n")
	// the module's version 0.316.0 is the release 3.16.0
	minor := strings.Split(version("prometheus", "prometheus"), ".")[1]
	assert.Contains(t, string(text), "image: quay.io/prometheus/prometheus:v3."+strings.TrimLeft(minor[1:], "0")+".0\n")
}
