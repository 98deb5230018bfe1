package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// authority is a CA of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	c, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{c, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// issue writes a certificate for 127.0.0.1 and its key to one file, as kubelet does.
func (a authority) issue(t *testing.T, file string, ends time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: ends,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, key.Public(), a.key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})...)
	require.NoError(t, os.WriteFile(file, text, 0o600))
}

// addressLog reads the log of the program, and sends the address when it listens.
type addressLog struct{ address chan string }

func (l addressLog) Write(line []byte) (int, error) {
	if _, address, found := strings.Cut(string(line), "listening on "); found {
		l.address <- strings.TrimSpace(address)
	}
	return len(line), nil
}

// TestOnlyPrometheusReadsMetrics checks that the server needs a certificate of its own CA, that it forwards nothing
// else than the configured pages, and that it reads a renewed certificate.
func TestOnlyPrometheusReadsMetrics(t *testing.T) {
	var seen http.Header
	program := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		fmt.Fprintf(w, "program %s?%s\n", r.URL.Path, r.URL.RawQuery)
	}))
	defer program.Close()
	dir := t.TempDir()
	servers, clients, others := newAuthority(t), newAuthority(t), newAuthority(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(file("ca.crt"), clients.pem(), 0o600))
	ends := time.Now().Add(time.Hour).Truncate(time.Second)
	clients.issue(t, file("client.pem"), ends)
	others.issue(t, file("other.pem"), ends)
	logged := addressLog{make(chan string, 1)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"--listen=127.0.0.1:0", "--tls-cert-file=" + file("server.pem"),
			"--tls-private-key-file=" + file("server.pem"), "--client-ca-file=" + file("ca.crt"),
			"--forward=program=" + program.URL + "/metrics", "--certificates=" + file("c*.pem")},
			log.New(logged, "", 0))
	}()
	address := "https://" + <-logged.address
	get := func(certificate, path string) (string, error) {
		roots := x509.NewCertPool()
		roots.AddCert(servers.certificate)
		config := &tls.Config{RootCAs: roots}
		if certificate != "" {
			pair, err := tls.LoadX509KeyPair(file(certificate), file(certificate))
			require.NoError(t, err)
			config.Certificates = []tls.Certificate{pair}
		}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer secret")
		request.Header.Set("Accept", "text/plain")
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return string(text), err
	}
	_, err := get("client.pem", "/program")
	require.Error(t, err, "the server has no certificate yet")
	servers.issue(t, file("server.pem"), ends)
	text, err := get("client.pem", "/program?match=a")
	require.NoError(t, err)
	assert.Equal(t, "program /metrics?\n", text)
	assert.Equal(t, "text/plain", seen.Get("Accept"))
	assert.Empty(t, seen.Get("Authorization"))
	text, err = get("client.pem", "/metrics")
	require.NoError(t, err)
	assert.Contains(t, text, fmt.Sprintf("machine_certificate_expiry_timestamp_seconds{file=%q} %g\n",
		file("client.pem"), float64(ends.Unix())))
	text, err = get("client.pem", "/debug/pprof/")
	require.NoError(t, err)
	assert.Equal(t, "404 page not found\n", text)
	for _, certificate := range []string{"", "other.pem", "server.pem"} {
		_, err := get(certificate, "/metrics")
		assert.Error(t, err, certificate)
	}
	stop()
	require.NoError(t, <-ended)
}

// TestMetrics checks the metrics of a machine with the files of a kernel, BIRD and systemctl of a test.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
	}
	write("proc/stat", "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 0 250 0 0 0 0 1 0 0\nctxt 5\nbtime 1700000000\n")
	write("proc/meminfo", "MemTotal:  2048 kB\nMemAvailable: 1024 kB\nHugePages_Total: 0\n")
	write("proc/loadavg", "0.50 1.25 2.00 1/234 5678\n")
	write("proc/self/statm", "9000 3000 100 1 0 1 0\n")
	write("proc/self/mounts", "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n/dev/sr0 /mnt/config iso9660 ro 0 0\n")
	write("proc/net/dev", "Inter-| Receive | Transmit\n face |bytes packets\n"+
		"  ens3: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"+
		"cali12: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n")
	write("bin/systemctl", `#!/bin/sh
case $1 in
list-units) echo "a\x2db.service loaded failed failed Text" ;;
show) case $* in *tenant-sync.service) echo @1700000001 ;; *) echo ;; esac ;;
esac
`)
	write("bin/check-good", "#!/bin/sh\n")
	write("bin/check-bad", "#!/bin/sh\nexit 1\n")
	write("backup", "1700000002 dev-20231114T221322Z.db\n")
	t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	socket := filepath.Join(dir, "bird.ctl")
	bird, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer bird.Close()
	go func() {
		for {
			conn, err := bird.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "0001 BIRD v0.3.3+birdv1.6.8 ready.\n")
			_, _ = conn.Read(make([]byte, 100))
			_, _ = io.WriteString(conn, "2002-name     proto    table    state  since       info\n"+
				"1002-static1  Static   master   up     20:57:28    \n"+
				" Mesh_10_0_0_65 BGP      master   up     20:57:30    Established   \n"+
				" Node_10_0_0_1 BGP      master   start  20:57:30    Active        Socket: Connection refused\n"+
				"0000 \n")
			_ = conn.Close()
		}
	}()
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/apis/certificates.k8s.io/v1/certificatesigningrequests", r.URL.Path)
		item := func(age time.Duration, status string) string {
			return fmt.Sprintf(`{"metadata": {"creationTimestamp": %q}, "status": %s}`,
				time.Now().Add(-age).UTC().Format(time.RFC3339), status)
		}
		fmt.Fprintf(w, `{"items": [%s, %s, %s]}`, item(2*time.Minute, "{}"), item(time.Second, "{}"),
			item(2*time.Minute, `{"conditions": [{"type": "Approved"}]}`))
	}))
	defer api.Close()
	write("api.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})))
	newAuthority(t).issue(t, filepath.Join(dir, "client.crt"), time.Now().Add(time.Hour))
	key, err := os.ReadFile(filepath.Join(dir, "client.crt"))
	require.NoError(t, err)
	write("client.key", string(key))
	m := &machine{
		proc: filepath.Join(dir, "proc"), bird: socket, backup: filepath.Join(dir, "backup"),
		requests: requests{api.URL, filepath.Join(dir, "api.crt"), filepath.Join(dir, "client")},
		checks:   []string{"good", "bad"}, timers: []string{"tenant-sync", "never"}, log: log.New(io.Discard, "", 0),
	}
	scrape := func() string {
		answer := httptest.NewRecorder()
		m.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return answer.Body.String()
	}
	text := scrape()
	for line := range strings.Lines(text) {
		assert.Regexp(t, `^(# (HELP|TYPE) [a-z]\w+ .+|[a-z]\w+(\{(\w+="[^"]*",?)+\})? [-+.e0-9]+)\n$`, line)
	}
	space := regexp.MustCompile(`(node_filesystem_\w+\{.*\}) [-+.e0-9]+`)
	values := space.ReplaceAllString(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, ""), "$1 N")
	assert.Equal(t, `node_cpu_seconds_total{cpu="0",mode="user"} 1
node_cpu_seconds_total{cpu="0",mode="nice"} 0
node_cpu_seconds_total{cpu="0",mode="system"} 2.5
node_cpu_seconds_total{cpu="0",mode="idle"} 0
node_cpu_seconds_total{cpu="0",mode="iowait"} 0
node_cpu_seconds_total{cpu="0",mode="irq"} 0
node_cpu_seconds_total{cpu="0",mode="softirq"} 0
node_cpu_seconds_total{cpu="0",mode="steal"} 0.01
node_boot_time_seconds 1.7e+09
node_memory_MemTotal_bytes 2.097152e+06
node_memory_MemAvailable_bytes 1.048576e+06
node_load1 0.5
node_load5 1.25
node_load15 2
node_filesystem_size_bytes{device="overlay",fstype="overlay",mountpoint="/"} N
node_filesystem_avail_bytes{device="overlay",fstype="overlay",mountpoint="/"} N
node_network_receive_bytes_total{device="ens3"} 100
node_network_transmit_bytes_total{device="ens3"} 200
node_systemd_unit_state{name="a\\x2db.service",state="failed"} 1
node_systemd_units{state="failed"} 1
machine_last_run_timestamp_seconds{service="tenant-sync"} 1.700000001e+09
machine_bird_up 1
machine_bgp_session_up{peer="10.0.0.65",protocol="Mesh_10_0_0_65"} 1
machine_bgp_session_up{peer="10.0.0.1",protocol="Node_10_0_0_1"} 0
machine_check_success{check="good"} 1
machine_check_success{check="bad"} 0
machine_pending_certificate_requests 1
machine_etcd_backup_overdue_timestamp_seconds 1.700000002e+09
process_resident_memory_bytes 1.2288e+07
machine_errors 0
`, values)

	// a part that fails does not hide the others
	require.NoError(t, bird.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, "proc/loadavg")))
	require.NoError(t, os.Remove(filepath.Join(dir, "backup")))
	text = scrape()
	assert.Contains(t, text, "\nmachine_bird_up 0\n")
	assert.NotContains(t, text, "bgp_session")
	assert.NotContains(t, text, "node_load")
	assert.Contains(t, text, "\nnode_memory_MemTotal_bytes ")
	assert.Regexp(t, `\nmachine_etcd_backup_overdue_timestamp_seconds \d`, text)
	assert.Contains(t, text, "\nmachine_errors 2\n")
}
