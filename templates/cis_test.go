package templates

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// benchmark lists the checks of the CIS Kubernetes Benchmark (numbers of version 1.11) that files and flags
// decide. A check that is not met has a reason in because. The test also fails if such a check is met after
// all, so the table is always correct.
var benchmark = []struct {
	id, title string
	met       func(*machineUnderTest) bool
	because   string // the reason why it is not met
}{
	{"1.1.11", "etcd's data folder has mode 700",
		text("etcd", "/usr/local/sbin/etcd-volume", `install -d -m 0700 "$mount_point/data"`), ""},
	{"1.1.12", "etcd's data folder is etcd's",
		text("etcd", "/usr/local/sbin/etcd-volume", `chown -R etcd:etcd "$mount_point/data"`), ""},
	{"1.1.13", "admin.conf has mode 600", mode600("control-plane", "/etc/kubernetes/admin.conf"), ""},
	{"1.1.15", "scheduler.conf has mode 600", mode600("control-plane", "/etc/kubernetes/scheduler.conf"), ""},
	{"1.1.17", "controller-manager.conf has mode 600", mode600("control-plane", "/etc/kubernetes/controller-manager.conf"),
		""},
	{"1.1.21", "private keys have mode 600", keysHaveMode600, ""},
	{"1.2.1", "anonymous requests are off",
		not(text("control-plane", "/etc/kubernetes/authentication.yaml", "enabled: true")),
		"only /livez, /readyz and /healthz are open, for load balancers: authentication.yaml"},
	{"1.2.2", "no static tokens", absent("kube-apiserver", "token-auth-file"), ""},
	{"1.2.3", "DenyServiceExternalIPs", listed("kube-apiserver", "enable-admission-plugins", "DenyServiceExternalIPs"),
		""},
	{"1.2.4", "a client certificate for kubelets",
		both(set("kube-apiserver", "kubelet-client-certificate"), set("kube-apiserver", "kubelet-client-key")), ""},
	{"1.2.5", "kubelets' certificates are verified", set("kube-apiserver", "kubelet-certificate-authority"), ""},
	{"1.2.6", "not everything is allowed", not(text("control-plane", "/etc/kubernetes/authorization.yaml", "AlwaysAllow")),
		""},
	{"1.2.7", "the Node authorizer", text("control-plane", "/etc/kubernetes/authorization.yaml", "type: Node"), ""},
	{"1.2.8", "the RBAC authorizer", text("control-plane", "/etc/kubernetes/authorization.yaml", "type: RBAC"), ""},
	{"1.2.9", "EventRateLimit", listed("kube-apiserver", "enable-admission-plugins", "EventRateLimit"),
		"alpha, and API priority and fairness limits the requests of clients"},
	{"1.2.10", "no AlwaysAdmit", not(listed("kube-apiserver", "enable-admission-plugins", "AlwaysAdmit")), ""},
	{"1.2.11", "AlwaysPullImages", listed("kube-apiserver", "enable-admission-plugins", "AlwaysPullImages"),
		"every pod would need the registry to start, also while that is down; tenants who need it set imagePullPolicy"},
	{"1.2.12", "ServiceAccount is not disabled", absent("kube-apiserver", "disable-admission-plugins"), ""},
	{"1.2.14", "NodeRestriction", listed("kube-apiserver", "enable-admission-plugins", "NodeRestriction"), ""},
	{"1.2.15", "no profiling", is("kube-apiserver", "profiling", "false"), ""},
	{"1.2.16", "an audit log", set("kube-apiserver", "audit-log-path"), ""},
	{"1.2.17", "kept 30 days", atLeast("kube-apiserver", "audit-log-maxage", 30), ""},
	{"1.2.18", "in 10 files", atLeast("kube-apiserver", "audit-log-maxbackup", 10), ""},
	{"1.2.19", "of 100 MB", atLeast("kube-apiserver", "audit-log-maxsize", 100), ""},
	{"1.2.21", "deleted service accounts' tokens are refused",
		not(is("kube-apiserver", "service-account-lookup", "false")), ""},
	{"1.2.22", "a key for service accounts", set("kube-apiserver", "service-account-key-file"), ""},
	{"1.2.23", "a client certificate for etcd",
		both(set("kube-apiserver", "etcd-certfile"), set("kube-apiserver", "etcd-keyfile")), ""},
	{"1.2.24", "a serving certificate",
		both(set("kube-apiserver", "tls-cert-file"), set("kube-apiserver", "tls-private-key-file")), ""},
	{"1.2.25", "a CA for clients", set("kube-apiserver", "client-ca-file"), ""},
	{"1.2.26", "etcd's certificate is verified", set("kube-apiserver", "etcd-cafile"), ""},
	{"1.2.27", "encryption at rest", set("kube-apiserver", "encryption-provider-config"), ""},
	{"1.2.28", "with a proven cipher", text("control-plane", "/etc/kubernetes/encryption.yaml", "- secretbox:"), ""},
	{"1.2.29", "strong ciphers for the API: TLS 1.3 has no others",
		is("kube-apiserver", "tls-min-version", "VersionTLS13"), ""},
	{"1.2.30", "service accounts' tokens end", is("kube-apiserver", "service-account-extend-token-expiration", "false"),
		""},
	{"1.3.1", "ended pods are collected", set("kube-controller-manager", "terminated-pod-gc-threshold"), ""},
	{"1.3.2", "no profiling", is("kube-controller-manager", "profiling", "false"), ""},
	{"1.3.3", "a service account for each controller",
		is("kube-controller-manager", "use-service-account-credentials", "true"), ""},
	{"1.3.4", "signs service accounts' tokens", set("kube-controller-manager", "service-account-private-key-file"), ""},
	{"1.3.5", "a root CA for pods", set("kube-controller-manager", "root-ca-file"), ""},
	{"1.3.7", "listens on loopback", is("kube-controller-manager", "bind-address", "127.0.0.1"), ""},
	{"1.4.1", "no profiling", either(is("kube-scheduler", "profiling", "false"),
		text("control-plane", "/etc/kubernetes/scheduler.yaml", "enableProfiling: false")), ""},
	{"1.4.2", "listens on loopback", is("kube-scheduler", "bind-address", "127.0.0.1"), ""},
	{"2.1", "a serving certificate", both(set("etcd", "cert-file"), set("etcd", "key-file")), ""},
	{"2.2", "clients need certificates", is("etcd", "client-cert-auth", "true"), ""},
	{"2.3", "no self-signed certificates", absent("etcd", "auto-tls"), ""},
	{"2.4", "certificates for peers", both(set("etcd", "peer-cert-file"), set("etcd", "peer-key-file")), ""},
	{"2.5", "peers need certificates", is("etcd", "peer-client-cert-auth", "true"), ""},
	{"2.6", "no self-signed ones for peers", absent("etcd", "peer-auto-tls"), ""},
	{"2.7", "a separate CA", is("etcd", "trusted-ca-file", "/etc/etcd/pki/ca.crt"), ""},
	{"3.2.1", "an audit policy", set("kube-apiserver", "audit-policy-file"), ""},
	{"3.2.2", "that never logs the content of Secrets", secretsAtMetadata, ""},
	{"4.1.1", "kubelet's unit has mode 600", mode600("worker", "/etc/systemd/system/kubelet.service"),
		"a unit contains no secret, and systemd warns about modes that hide units"},
	{"4.1.3", "kube-proxy's kubeconfig has mode 600", mode600("worker", "/etc/kubernetes/kube-proxy.conf"), ""},
	{"4.1.5", "bootstrap-kubelet.conf has mode 600", mode600("worker", "/etc/kubernetes/bootstrap-kubelet.conf"), ""},
	{"4.1.9", "kubelet's configuration has mode 600", mode600("worker", "/etc/kubernetes/kubelet.yaml"), ""},
	{"4.2.1", "no anonymous requests", kubelet("authentication.anonymous.enabled", false), ""},
	{"4.2.2", "requests are authorized", kubelet("authorization.mode", "Webhook"), ""},
	{"4.2.3", "a CA for clients", kubelet("authentication.x509.clientCAFile", "/etc/kubernetes/pki/ca.crt"), ""},
	{"4.2.4", "no read-only port", kubelet("readOnlyPort", 0.), ""},
	{"4.2.5", "idle streams end", not(kubelet("streamingConnectionIdleTimeout", "0")), ""},
	{"4.2.6", "its iptables chains", kubelet("makeIPTablesUtilChains", true), ""},
	{"4.2.7", "no hostname override", absent("kubelet", "hostname-override"),
		"node names are planned; an image may take the cloud's domain into the hostname"},
	{"4.2.8", "events are limited", not(kubelet("eventRecordQPS", 0.)), ""},
	{"4.2.9", "a serving certificate", kubelet("serverTLSBootstrap", true), ""},
	{"4.2.10", "client certificates rotate", kubelet("rotateCertificates", true), ""},
	{"4.2.12", "strong ciphers", kubelet("tlsMinVersion", "VersionTLS12"), ""},
	{"4.2.13", "a pod has a limit of processes", kubeletSet("podPidsLimit"), ""},
	{"4.2.14", "seccomp by default", kubelet("seccompDefault", true), ""},
	{"4.3.1", "kube-proxy's metrics are on loopback",
		text("worker", "/etc/kubernetes/kube-proxy.yaml", "metricsBindAddress: 127.0.0.1"), ""},
}

func TestCIS(t *testing.T) {
	m := &machineUnderTest{t, map[string][]File{}}
	for role, machine := range machines() {
		files, err := machine.files()
		require.NoError(t, err)
		m.byRole[role] = files
	}
	for _, check := range benchmark {
		t.Run(check.id+" "+check.title, func(t *testing.T) {
			m.T = t
			assert.Equal(t, check.because == "", check.met(m), "not met because: %q", check.because)
		})
	}
}

type machineUnderTest struct {
	*testing.T
	byRole map[string][]File
}

type condition = func(*machineUnderTest) bool

func (m *machineUnderTest) file(role, path string) File {
	m.Helper()
	for _, f := range m.byRole[role] {
		if f.Path == path {
			return f
		}
	}
	require.Fail(m, "no such file", "%s on %s", path, role)
	return File{}
}

// flags returns the flags of a component's unit, by name without dashes.
func (m *machineUnderTest) flags(component string) map[string]string {
	role := map[string]string{"etcd": "etcd", "kubelet": "worker"}[component]
	if role == "" {
		role = "control-plane"
	}
	unit := m.file(role, "/etc/systemd/system/"+component+".service").Content
	out := map[string]string{}
	for _, word := range strings.Fields(unit) {
		if name, ok := strings.CutPrefix(word, "--"); ok {
			key, value, _ := strings.Cut(name, "=")
			out[key] = value
		}
	}
	return out
}

func (m *machineUnderTest) kubelet(path string) any {
	var value any
	require.NoError(m, yaml.Unmarshal([]byte(m.file("worker", "/etc/kubernetes/kubelet.yaml").Content), &value))
	for key := range strings.SplitSeq(path, ".") {
		section, _ := value.(map[string]any)
		value = section[key]
	}
	return value
}

func text(role, path, part string) condition {
	return func(m *machineUnderTest) bool { return strings.Contains(m.file(role, path).Content, part) }
}

func mode600(role, path string) condition {
	return func(m *machineUnderTest) bool { return m.file(role, path).Mode == 0o600 }
}

func set(component, flag string) condition {
	return func(m *machineUnderTest) bool { return m.flags(component)[flag] != "" }
}

func absent(component, flag string) condition {
	return func(m *machineUnderTest) bool { _, found := m.flags(component)[flag]; return !found }
}

func is(component, flag, value string) condition {
	return func(m *machineUnderTest) bool { return m.flags(component)[flag] == value }
}

func listed(component, flag, value string) condition {
	return func(m *machineUnderTest) bool {
		for item := range strings.SplitSeq(m.flags(component)[flag], ",") {
			if item == value {
				return true
			}
		}
		return false
	}
}

func atLeast(component, flag string, least int) condition {
	return func(m *machineUnderTest) bool {
		value, err := strconv.Atoi(m.flags(component)[flag])
		return err == nil && value >= least
	}
}

func kubelet(path string, value any) condition {
	return func(m *machineUnderTest) bool { return assert.ObjectsAreEqual(value, m.kubelet(path)) }
}

func kubeletSet(path string) condition {
	return func(m *machineUnderTest) bool { return m.kubelet(path) != nil }
}

func both(a, b condition) condition   { return func(m *machineUnderTest) bool { return a(m) && b(m) } }
func either(a, b condition) condition { return func(m *machineUnderTest) bool { return a(m) || b(m) } }
func not(a condition) condition       { return func(m *machineUnderTest) bool { return !a(m) } }

func keysHaveMode600(m *machineUnderTest) bool {
	for _, files := range m.byRole {
		for _, f := range files {
			if strings.HasSuffix(f.Path, ".key") && f.Mode != 0o600 {
				return false
			}
		}
	}
	return true
}

// secretsAtMetadata returns true if the policy's first rule for Secrets logs the user and the object, but not
// the content.
func secretsAtMetadata(m *machineUnderTest) bool {
	var policy struct {
		Rules []struct {
			Level     string
			Resources []struct{ Resources []string }
		}
	}
	require.NoError(m, yaml.Unmarshal([]byte(m.file("control-plane", "/etc/kubernetes/audit.yaml").Content), &policy))
	for _, rule := range policy.Rules {
		for _, group := range rule.Resources {
			for _, resource := range group.Resources {
				if resource == "secrets" {
					return rule.Level == "Metadata"
				}
			}
		}
	}
	return false
}
