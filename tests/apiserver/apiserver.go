// Package apiserver runs a Kubernetes API with its controllers, but without nodes, for tests. It uses the
// programs that devcloud's machines download. Pods stay Pending until Run marks them as ready.
package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/internal/dirs"
)

// Server is a running API server with its etcd and controllers.
type Server struct {
	Client *kubernetes.Clientset
	// Kubeconfig is the kubeconfig of an administrator, as YAML.
	Kubeconfig string
	// Etcd is the URL of the server's etcd, and Etcdctl is the path of etcdctl.
	Etcd, Etcdctl string
	processes     []*exec.Cmd
}

// started counts servers. Each server has its own loopback address, on which no other program can take its
// ports.
var started atomic.Int32

// Start starts a server, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{}
	t.Cleanup(s.Stop)

	unpack := exec.Command("tar", "--extract", "--gzip", "--strip-components=1", "--directory", dir, "--file",
		dirs.Mirror("github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz"))
	require.NoError(t, unpack.Run(), "run make test")
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	host := fmt.Sprintf("127.0.1.%d", started.Add(1))
	etcd, peer, api := url(t, "http", host), url(t, "http", host), url(t, "https", host)
	s.Etcd, s.Etcdctl = etcd, filepath.Join(dir, "etcdctl")
	s.start(t, dir, filepath.Join(dir, "etcd"), "--data-dir="+dir+"/data", "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	accounts := file("sa.key",
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	const binaries = "dl.k8s.io/release/v1.36.3/bin/linux/amd64"
	s.start(t, dir, dirs.Mirror(binaries, "kube-apiserver"), "--etcd-servers="+etcd, "--bind-address="+host,
		"--secure-port="+api[strings.LastIndex(api, ":")+1:], "--cert-dir="+dir,
		"--token-auth-file="+file("tokens", "token,admin,admin,system:masters\n"),
		"--authorization-mode=RBAC", "--allow-privileged", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://test",
		"--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts)
	s.Kubeconfig = fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: token}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
`, api)
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(s.Kubeconfig))
	require.NoError(t, err)
	s.Client, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
	// The controllers exit if the API is not ready 10 s after their start.
	require.Eventually(t, func() bool {
		return s.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(t.Context()).Error() == nil
	}, 5*time.Minute, 100*time.Millisecond, "see the logs in %s", dir)
	// The garbage collector would delete the pods, because their nodes do not exist.
	s.start(t, dir, dirs.Mirror(binaries, "kube-controller-manager"), "--kubeconfig="+file("kubeconfig", s.Kubeconfig),
		"--controllers=*,-pod-garbage-collector-controller",
		"--leader-elect=false", "--secure-port=0", "--service-account-private-key-file="+accounts)
	require.Eventually(t, func() bool {
		_, err := s.Client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	}, 5*time.Minute, 100*time.Millisecond, "see the logs in %s", dir)
	return s
}

// As returns a kubeconfig of a ServiceAccount in kube-system, as YAML.
func (s *Server) As(t testing.TB, account string) string {
	t.Helper()
	token, err := s.Client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).
		CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	return strings.Replace(s.Kubeconfig, "{token: token}", "{token: "+token.Status.Token+"}", 1)
}

// start starts a program. Its log is a file in dir with the program's name.
func (s *Server) start(t testing.TB, dir, program string, args ...string) {
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	require.NoError(t, err)
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start(), "run make test")
	s.processes = append(s.processes, cmd)
}

// Stop kills all processes of the server, so requests get no response.
func (s *Server) Stop() {
	for _, cmd := range s.processes {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	s.processes = nil
}

// Run simulates all nodes. Until ctx ends, it sets each existing and new pod of the namespace to ready.
func (s *Server) Run(ctx context.Context, namespace string) {
	pods := s.Client.CoreV1().Pods(namespace)
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		list, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, pod := range list.Items {
			if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodRunning {
				continue
			}
			pod.Status.Phase = corev1.PodRunning
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			_, _ = pods.UpdateStatus(ctx, &pod, metav1.UpdateOptions{})
		}
	}
}

// url returns a URL with a free port of host.
func url(t testing.TB, scheme, host string) string {
	free, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	defer func() { _ = free.Close() }()
	return scheme + "://" + free.Addr().String()
}
